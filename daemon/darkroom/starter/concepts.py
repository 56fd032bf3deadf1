"""What the starter model learns to draw: one line per concept.

Each line is ``icon | name | alias, alias``. The icon is a key of all three icon sets (or an alias of one there); the name is
what a person would write; a ``=`` before the icon keeps its left and right (things that look wrong in a mirror).
"""

from __future__ import annotations

from dataclasses import dataclass

TABLE = """
grinning-face | smiley | happy face, smiling face, smile
smiling-face-with-heart-eyes | heart eyes face | face in love
smiling-face-with-sunglasses | cool face | face with sunglasses
crying-face | crying face | sad face
angry-face | angry face |
skull | skull |
ghost | ghost |
alien | alien |
robot | robot | robot head
clown-face | clown | clown face
jack-o-lantern | pumpkin | jack-o-lantern, halloween pumpkin
snowman | snowman |
monkey-face | monkey | monkey face
dog-face | dog | dog face, puppy
wolf | wolf | wolf head
fox | fox | fox head
cat-face | cat | cat face, kitten
lion | lion | lion head
tiger-face | tiger | tiger face
horse | horse |
unicorn | unicorn | unicorn head
zebra | zebra |
cow-face | cow | cow face
pig-face | pig | pig face
camel | camel |
giraffe | giraffe |
elephant | elephant |
rhinoceros | rhinoceros | rhino
mouse-face | mouse | mouse face
rabbit-face | rabbit | bunny, rabbit face
hedgehog | hedgehog |
bat | bat |
bear | bear | bear head
panda | panda | panda bear
koala | koala |
rooster | rooster |
chicken | chicken | hen
baby-chick | chick | baby chick
penguin | penguin |
duck | duck |
swan | swan |
owl | owl |
flamingo | flamingo |
peacock | peacock |
parrot | parrot |
frog | frog | frog face
crocodile | crocodile | alligator
turtle | turtle | tortoise
snake | snake |
dragon | dragon |
t-rex | dinosaur | t-rex
spouting-whale | whale |
dolphin | dolphin |
fish | fish |
tropical-fish | tropical fish |
shark | shark |
octopus | octopus |
crab | crab |
lobster | lobster |
snail | snail |
butterfly | butterfly |
honeybee | bee | honeybee
lady-beetle | ladybug | ladybird, lady beetle
spider | spider |
rose | rose |
hibiscus | hibiscus | flower
sunflower | sunflower |
tulip | tulip |
evergreen-tree | pine tree | evergreen tree, fir tree
deciduous-tree | tree |
palm-tree | palm tree | palm
cactus | cactus |
mushroom | mushroom |
four-leaf-clover | four leaf clover | clover
maple-leaf | maple leaf |
grapes | grapes | bunch of grapes
watermelon | watermelon | slice of watermelon
lemon | lemon |
banana | banana |
pineapple | pineapple |
red-apple | apple |
pear | pear |
peach | peach |
cherries | cherries | cherry
strawberry | strawberry |
kiwi-fruit | kiwi | kiwi fruit
tomato | tomato |
avocado | avocado |
eggplant | eggplant | aubergine
carrot | carrot |
ear-of-corn | corn | ear of corn
hot-pepper | chili pepper | chili, hot pepper
broccoli | broccoli |
bread | bread | loaf of bread
croissant | croissant |
pretzel | pretzel |
cheese-wedge | cheese | piece of cheese
hamburger | hamburger | burger
french-fries | french fries | fries
pizza | pizza | slice of pizza
hot-dog | hot dog |
taco | taco |
cooking | fried egg | egg
popcorn | popcorn |
sushi | sushi |
soft-ice-cream | ice cream | ice cream cone
doughnut | donut | doughnut
cookie | cookie | biscuit
birthday-cake | cake | birthday cake
cupcake | cupcake | muffin
lollipop | lollipop |
hot-beverage | coffee | cup of coffee, cup of tea
wine-glass | wine glass | glass of wine
beer-mug | beer | mug of beer
snow-capped-mountain | mountain | snowy mountain
volcano | volcano |
desert-island | island | desert island
house | house |
castle | castle |
church | church |
tent | tent |
cityscape | city | cityscape, skyline
ferris-wheel | ferris wheel |
factory | factory |
circus-tent | circus tent | circus
locomotive | steam train | train, locomotive
bus | bus |
ambulance | ambulance |
fire-engine | fire truck | fire engine
police-car | police car |
taxi | taxi | cab
automobile | car | automobile
tractor | tractor |
racing-car | race car | racing car
motorcycle | motorcycle | motorbike
bicycle | bicycle | bike
sailboat | sailboat | sailing boat, boat
ship | ship |
airplane | airplane | plane
helicopter | helicopter |
rocket | rocket | spaceship
flying-saucer | ufo | flying saucer
crescent-moon | moon | crescent moon
sun | sun |
ringed-planet | planet | saturn, ringed planet
star | star |
cloud | cloud |
rainbow | rainbow |
umbrella | umbrella |
high-voltage | lightning | lightning bolt
snowflake | snowflake |
fire | fire | flame, flames
droplet | water drop | drop of water, droplet
water-wave | wave | ocean wave
alarm-clock | alarm clock | clock
hourglass-done | hourglass |
christmas-tree | christmas tree |
balloon | balloon |
wrapped-gift | gift | present, gift box
trophy | trophy | golden cup
soccer-ball | soccer ball | football
basketball | basketball |
bullseye | target | bullseye
kite | kite |
teddy-bear | teddy bear |
artist-palette | palette | paint palette
glasses | glasses | eyeglasses
t-shirt | t-shirt | shirt
dress | dress |
backpack | backpack |
running-shoe | shoe | running shoe, sneaker
crown | crown |
top-hat | top hat | hat
ring | ring | diamond ring
gem-stone | diamond | gem, gem stone
bell | bell |
guitar | guitar |
violin | violin |
drum | drum |
trumpet | trumpet |
laptop | laptop | computer
television | television | tv
camera | camera |
candle | candle |
light-bulb | light bulb | lamp
books | books | stack of books, book
pencil | pencil |
scissors | scissors |
=key | key |
locked | padlock | lock
hammer | hammer |
axe | axe |
dagger | dagger | sword, knife
bomb | bomb |
shield | shield |
magnet | magnet |
door | door |
chair | chair |
anchor | anchor |
red-heart | heart |
"""

#: Names of the concepts that are also learnt in every colour.
PAINTABLE = frozenset(
    """apple, car, heart, house, balloon, rose, mushroom, fish, umbrella, dress, cat, star, butterfly, tulip, t-shirt,
    shoe, backpack, bus, taxi, race car, motorcycle, bicycle, sailboat, ship, rocket, ufo, airplane, helicopter, tractor, gift,
    chair, door, guitar, drum, key, padlock, diamond, crown, top hat, bell, candle, light bulb, kite, pear, cherries,
    strawberry, tomato, chili pepper, dragon, dinosaur, frog, snake, turtle, octopus, crab, whale, dolphin, owl, parrot, chick,
    ladybug, unicorn, dog, rabbit, bear, teddy bear, fox, pig, ghost, robot, alien, cupcake, cake, donut, lollipop, ice cream,
    hibiscus, maple leaf, tree, moon, planet, water drop, fire, castle, tent, alarm clock, basketball, glasses, ring, scissors,
    pencil, shield, magnet, hammer, axe, camera, television, violin, trumpet, trophy, snowflake, smiley""".replace(
        "\n", " "
    )
    .replace("    ", "")
    .split(", ")
)

#: The colour that each of these has when nobody asks for one.
OWN_COLOURS = {
    "apple": "red", "heart": "red", "rose": "red", "strawberry": "red", "tomato": "red", "cherries": "red", "car": "red",
    "balloon": "red", "magnet": "red", "fire truck": "red", "lobster": "red", "chili pepper": "red", "ladybug": "red",
    "alarm clock": "red", "pumpkin": "orange", "carrot": "orange", "basketball": "orange", "fox": "orange", "tiger": "orange",
    "lemon": "yellow", "banana": "yellow", "star": "yellow", "sun": "yellow", "moon": "yellow", "chick": "yellow",
    "cheese": "yellow", "taxi": "yellow", "helicopter": "yellow", "smiley": "yellow", "bell": "yellow", "lightning": "yellow",
    "frog": "green", "tree": "green", "pine tree": "green", "cactus": "green", "four leaf clover": "green", "pear": "green",
    "broccoli": "green", "dinosaur": "green", "crocodile": "green", "dragon": "green", "turtle": "green", "fish": "blue",
    "whale": "blue", "dolphin": "blue", "butterfly": "blue", "dress": "blue", "t-shirt": "blue", "diamond": "blue",
    "water drop": "blue", "shoe": "blue", "snowflake": "blue", "grapes": "purple", "eggplant": "purple", "umbrella": "purple",
    "pig": "pink", "flamingo": "pink", "tulip": "pink", "hibiscus": "pink", "top hat": "black", "bomb": "black",
    "skull": "white", "ghost": "white", "swan": "white", "snowman": "white", "cloud": "white",
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
