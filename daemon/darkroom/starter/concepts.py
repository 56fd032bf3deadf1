"""What the starter model learns to draw: one line per concept.

Each line is ``icon | name | alias, alias``. The icon is a key of all three icon sets (or an alias of one there); the name is
what a person would write; a ``=`` before the icon keeps its left and right (things that look wrong in a mirror).
"""

from __future__ import annotations

from dataclasses import dataclass

TABLE = """
grinning-face | smiley | happy face, smiling face, smile
smiling-face-with-sunglasses | cool face | face with sunglasses
crying-face | crying face | sad face
skull | skull |
ghost | ghost |
alien | alien |
robot | robot | robot head
jack-o-lantern | pumpkin | jack-o-lantern, halloween pumpkin
snowman | snowman |
monkey-face | monkey | monkey face
dog-face | dog | dog face, puppy
fox | fox | fox head
cat-face | cat | cat face, kitten
lion | lion | lion head
tiger-face | tiger | tiger face
=horse | horse |
=unicorn | unicorn | unicorn head
=zebra | zebra |
cow-face | cow | cow face
pig-face | pig | pig face
=giraffe | giraffe |
=elephant | elephant |
mouse-face | mouse | mouse face
rabbit-face | rabbit | bunny, rabbit face
bear | bear | bear head
panda | panda | panda bear
=baby-chick | chick | baby chick
=penguin | penguin |
=owl | owl |
=flamingo | flamingo |
=parrot | parrot |
frog | frog | frog face
=turtle | turtle | tortoise
=snake | snake |
=dragon | dragon |
=t-rex | dinosaur | t-rex
=spouting-whale | whale |
=dolphin | dolphin |
=fish | fish |
=shark | shark |
octopus | octopus |
crab | crab |
=snail | snail |
butterfly | butterfly |
honeybee | bee | honeybee
lady-beetle | ladybug | ladybird, lady beetle
spider | spider |
rose | rose |
sunflower | sunflower |
tulip | tulip |
evergreen-tree | pine tree | evergreen tree, fir tree
deciduous-tree | tree |
palm-tree | palm tree | palm
cactus | cactus |
mushroom | mushroom |
maple-leaf | maple leaf |
grapes | grapes | bunch of grapes
watermelon | watermelon | slice of watermelon
lemon | lemon |
=banana | banana |
pineapple | pineapple |
red-apple | apple |
pear | pear |
cherries | cherries | cherry
strawberry | strawberry |
tomato | tomato |
avocado | avocado |
=carrot | carrot |
=hot-pepper | chili pepper | chili, hot pepper
broccoli | broccoli |
bread | bread | loaf of bread
=cheese-wedge | cheese | piece of cheese
hamburger | hamburger | burger
french-fries | french fries | fries
pizza | pizza | slice of pizza
popcorn | popcorn |
soft-ice-cream | ice cream | ice cream cone
doughnut | donut | doughnut
cookie | cookie | biscuit
birthday-cake | cake | birthday cake
hot-beverage | coffee | cup of coffee, cup of tea
beer-mug | beer | mug of beer
snow-capped-mountain | mountain | snowy mountain
volcano | volcano |
desert-island | island | desert island
house | house |
castle | castle |
tent | tent |
cityscape | city | cityscape, skyline
=locomotive | steam train | train, locomotive
=bus | bus |
taxi | taxi | cab
=automobile | car | automobile
=motorcycle | motorcycle | motorbike
=bicycle | bicycle | bike
=sailboat | sailboat | sailing boat, boat
=airplane | airplane | plane
=helicopter | helicopter |
=rocket | rocket | spaceship
flying-saucer | ufo | flying saucer
=crescent-moon | moon | crescent moon
sun | sun |
=ringed-planet | planet | saturn, ringed planet
star | star |
cloud | cloud |
rainbow | rainbow |
umbrella | umbrella |
=high-voltage | lightning | lightning bolt
fire | fire | flame, flames
droplet | water drop | drop of water, droplet
alarm-clock | alarm clock | clock
christmas-tree | christmas tree |
balloon | balloon |
wrapped-gift | gift | present, gift box
trophy | trophy | golden cup
soccer-ball | soccer ball | football
basketball | basketball |
bullseye | target | bullseye
teddy-bear | teddy bear |
glasses | glasses | eyeglasses
t-shirt | t-shirt | shirt
dress | dress |
=running-shoe | shoe | running shoe, sneaker
crown | crown |
top-hat | top hat | hat
gem-stone | diamond | gem, gem stone
bell | bell |
=guitar | guitar |
television | television | tv
=camera | camera |
candle | candle |
light-bulb | light bulb | lamp
books | books | stack of books, book
=pencil | pencil |
scissors | scissors |
=key | key |
locked | padlock | lock
=hammer | hammer |
bomb | bomb |
magnet | magnet |
door | door |
chair | chair |
anchor | anchor |
red-heart | heart |
"""

#: In the same format: things whose words the tokenizer knows, for a longer training.
LATER = """
smiling-face-with-heart-eyes | heart eyes face | face in love
angry-face | angry face |
clown-face | clown | clown face
wolf | wolf | wolf head
=camel | camel |
=rhinoceros | rhinoceros | rhino
=hedgehog | hedgehog |
=bat | bat |
koala | koala |
=rooster | rooster |
=chicken | chicken | hen
=duck | duck |
=swan | swan |
=peacock | peacock |
=crocodile | crocodile | alligator
=tropical-fish | tropical fish |
=lobster | lobster |
hibiscus | hibiscus | flower
four-leaf-clover | four leaf clover | clover
peach | peach |
kiwi-fruit | kiwi | kiwi fruit
eggplant | eggplant | aubergine
=ear-of-corn | corn | ear of corn
=croissant | croissant |
pretzel | pretzel |
hot-dog | hot dog |
=taco | taco |
=cooking | fried egg | egg
sushi | sushi |
cupcake | cupcake | muffin
lollipop | lollipop |
wine-glass | wine glass | glass of wine
church | church |
ferris-wheel | ferris wheel |
factory | factory |
circus-tent | circus tent | circus
=ambulance | ambulance |
=fire-engine | fire truck | fire engine
police-car | police car |
=tractor | tractor |
=racing-car | race car | racing car
=ship | ship |
snowflake | snowflake |
=water-wave | wave | ocean wave
hourglass-done | hourglass |
=kite | kite |
artist-palette | palette | paint palette
backpack | backpack |
ring | ring | diamond ring
=violin | violin |
drum | drum |
=trumpet | trumpet |
laptop | laptop | computer
=axe | axe |
=dagger | dagger | sword, knife
shield | shield |
"""

#: Names of the concepts that are also learnt in every colour.
PAINTABLE = frozenset({
    "smiley", "ghost", "alien", "robot", "dog", "fox", "cat", "unicorn", "pig", "rabbit", "bear", "chick", "owl",
    "parrot", "frog", "turtle", "snake", "dragon", "dinosaur", "whale", "dolphin", "fish", "octopus", "crab",
    "butterfly", "ladybug", "rose", "tulip", "tree", "mushroom", "maple leaf", "apple", "pear", "cherries",
    "strawberry", "tomato", "chili pepper", "ice cream", "donut", "cake", "house", "castle", "tent", "bus", "taxi",
    "car", "motorcycle", "bicycle", "sailboat", "airplane", "helicopter", "rocket", "ufo", "moon", "planet", "star",
    "umbrella", "fire", "water drop", "alarm clock", "balloon", "gift", "trophy", "basketball", "teddy bear",
    "glasses", "t-shirt", "dress", "shoe", "crown", "top hat", "diamond", "bell", "guitar", "television", "camera",
    "candle", "light bulb", "pencil", "scissors", "key", "padlock", "hammer", "magnet", "door", "chair", "heart",
})  # fmt: skip

#: The colour that each of these has when nobody asks for one.
OWN_COLOURS = {
    "apple": "red", "heart": "red", "rose": "red", "strawberry": "red", "tomato": "red", "cherries": "red", "car": "red",
    "balloon": "red", "magnet": "red", "chili pepper": "red", "ladybug": "red",
    "alarm clock": "red", "pumpkin": "orange", "carrot": "orange", "basketball": "orange", "fox": "orange", "tiger": "orange",
    "lemon": "yellow", "banana": "yellow", "star": "yellow", "sun": "yellow", "moon": "yellow", "chick": "yellow",
    "cheese": "yellow", "taxi": "yellow", "helicopter": "yellow", "smiley": "yellow", "bell": "yellow", "lightning": "yellow",
    "frog": "green", "tree": "green", "pine tree": "green", "cactus": "green", "pear": "green",
    "broccoli": "green", "dinosaur": "green", "dragon": "green", "turtle": "green", "fish": "blue",
    "whale": "blue", "dolphin": "blue", "butterfly": "blue", "dress": "blue", "t-shirt": "blue", "diamond": "blue",
    "water drop": "blue", "shoe": "blue", "grapes": "purple", "umbrella": "purple",
    "pig": "pink", "flamingo": "pink", "tulip": "pink", "top hat": "black", "bomb": "black",
    "skull": "white", "ghost": "white", "snowman": "white", "cloud": "white",
}  # fmt: skip


@dataclass(frozen=True)
class Concept:
    """One thing the model draws."""

    icon: str  #: key of the icon in every set, such as ``red-apple``
    name: str  #: what a person calls it, such as ``apple``
    aliases: tuple[str, ...]  #: other words for it
    mirrors: bool  #: whether a mirrored picture is as good

    @property
    def words(self) -> tuple[str, ...]:
        """The name, then its aliases."""
        return (self.name, *self.aliases)


def parse(table: str = TABLE) -> tuple[Concept, ...]:
    """The concepts of a table in the format of this module's docstring, in its order."""
    found = []
    for line in table.strip().splitlines():
        icon, name, aliases = (part.strip() for part in line.split("|"))
        others = tuple(alias.strip() for alias in aliases.split(",") if alias.strip())
        found.append(Concept(icon.lstrip("="), name, others, not icon.startswith("=")))
    return tuple(found)


CONCEPTS = parse()

#: Icons that neither the autoencoder nor the denoiser ever sees: the autoencoder is measured on them.
HELD_OUT = (
    "gorilla", "poodle", "raccoon", "leopard", "deer", "goat", "llama", "hippopotamus", "hamster", "kangaroo",
    "turkey", "dove", "eagle", "lizard", "scorpion", "ant", "squid", "shrimp", "blowfish", "seal", "melon",
    "mango", "coconut", "cucumber", "garlic", "waffle", "bacon", "pancakes", "sandwich", "pie", "honey-pot",
    "teapot", "school", "hospital", "fountain", "pickup-truck", "canoe", "luggage", "comet", "volleyball",
    "video-game", "game-die", "puzzle-piece", "necktie", "handbag", "lipstick", "microphone", "saxophone",
    "telephone", "battery", "microscope", "telescope", "bed", "toilet", "broom", "bucket",
)  # fmt: skip

#: Trained, but in the shipped model not surely recognised by a person: left out of its vocabulary.
UNLISTED: frozenset[str] = frozenset({
    "unicorn", "elephant", "flamingo", "snake", "dragon", "dinosaur", "whale", "dolphin", "shark", "octopus", "snail",
    "helicopter", "airplane", "planet", "lightning", "cloud", "shoe", "camera", "cheese", "lemon", "owl", "zebra",
})  # fmt: skip
