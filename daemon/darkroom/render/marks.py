"""The mark of a picture that a machine has made, for the programs of others: XMP with IPTC's digital source type.

Sources: the IPTC Photo Metadata Standard (`DigitalSourceType`); the XMP specification, part 3, says where it lies in
each format. IPTC's older form, IIM, has no such field.
"""

from __future__ import annotations

from enum import StrEnum

from darkroom import __version__


class Origin(StrEnum):
    """What a picture was made from, in the words of IPTC's list."""

    WORDS = "trainedAlgorithmicMedia"  #: from words alone
    PICTURE = "compositeWithTrainedAlgorithmicMedia"  #: from a picture that came in, too


SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"

#: Where XMP lies in a PNG: the key of a text that is not compressed.
PNG_KEY = "XML:com.adobe.xmp"

#: The id is the same in every packet, by the specification; "r": no program may change it in place.
_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<xmp:CreatorTool>{software}</xmp:CreatorTool>
<Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def xmp(origin: Origin) -> str:
    """An XMP packet: the mark, and the name of the program."""
    return _PACKET.format(software=f"Darkroom {__version__}", source_type=SOURCE_TYPES + origin)
