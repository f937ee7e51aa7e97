"""Claim words: what a text claims about a product just by saying it. Only data.

A phrase of these lists must stand in the product's facts, or the text is not grounded. The longest
phrase at a place counts: "recycled polyester" is not granted by "polyester".
"""

from enum import StrEnum


class ClaimKind(StrEnum):
    """What sort of thing is claimed."""

    NUMBER = "number"
    CODE = "code"  # a model name, a size, a socket
    MATERIAL = "material"
    COLOUR = "colour"
    FEATURE = "feature"
    USE = "use"
    COMPATIBILITY = "compatibility"
    CERTIFICATION = "certification"
    ORIGIN = "origin"
    SUPERLATIVE = "superlative"
    WORD = "word"  # a word that neither the facts nor the plain vocabulary know


_MATERIALS = """
EVA, MDF, acacia, acetate, acrylic, alpaca, aluminium, aluminum, angora, ash wood, bamboo, beech,
birch, brass, bronze, calfskin, canvas, carbon, carbon fiber, carbon fibre, cardboard, cashmere,
cast iron, cedar, ceramic, cherry wood, chiffon, chrome, concrete, copper, cordura, corduroy,
cork, cotton, cowhide, crepe, crystal, denim, down filling, down-filled, duck down, earthenware,
elastane, enamel, fake fur, faux fur, faux leather, feather, fiberglass, fibreglass,
flannel, fleece, foam, full-grain leather, fur, gel, genuine leather, georgette, glass, gold,
goose down, gore-tex, granite, hemp, iron, jade, jersey, jute, kevlar, lace, latex, leather,
leatherette, linen, lycra, lyocell, mahogany, maple, marble, melamine, memory foam, merino, mesh,
metal, microfiber, microfibre, modal, mohair, mulberry silk, nappa, neoprene, nickel, nubuck,
nylon, oak, oilcloth, organic cotton, organza, patent leather, pewter, pine, plastic, plywood,
polyamide, polycarbonate, polycotton, polyester, polyethylene, polypropylene, polyurethane,
porcelain, pvc, ramie, rattan, rayon, recycled nylon, recycled plastic, recycled polyester, resin,
ripstop nylon, rosewood, rubber, satin, sheepskin, silicone, silk, silver, solid wood, spandex,
stainless steel, steel, stone, stoneware, straw, suede, synthetic, synthetic leather, taffeta,
teak, tencel, terracotta, titanium, tulle, tungsten, tweed, vegan leather, velour, velvet, vinyl,
viscose, walnut, wicker, wood, wool, zinc
"""

_COLOURS = """
amber, anthracite, apricot, aqua, aquamarine, azure, beige, black, blue, blush, bronze, brown,
burgundy, camel, champagne, charcoal, chocolate, cobalt, copper, coral, cream, crimson, cyan,
denim blue, ebony, emerald, forest green, fuchsia, gold, golden, gray, green, grey, indigo, ivory,
khaki, lavender, lilac, lime, magenta, maroon, mauve, mint, multicolor, multicolour, mustard,
navy, navy blue, ochre, off-white, olive, orange, peach, pink, plum, purple, red, royal
blue, ruby, rust, salmon, sand, sapphire, scarlet, sepia, sienna, silver, sky blue, tan, taupe,
teal, terracotta, turquoise, vanilla, vermilion, violet, white, yellow
"""

_FEATURES = """
abrasion-resistant, adhesive, adjustable, airtight, alarm, alarm clock, alexa, allergy,
anti-bacterial, anti-slip, antibacterial, antimicrobial, app, app-controlled, armrest, assembly,
automatic, award-winning, baby, backlit, batteries, battery, battery-powered, belt, bestseller,
bestselling, biodegradable, bleach, bluetooth, bpa, bpa-free, breathable, buckle, button, camera,
carbon-neutral, castor, cat, cheap, children, climate-neutral, collapsible, collar, colourfast,
compact, compartment, compostable, compressible, compression, convertible, cooling, cools,
cordless, crease-resistant, cropped, cuff, cup holder, cushioned, delivery, dermatologically,
detachable, dimmable, discount, dishwasher, dishwasher-safe, disposable, dog, double-walled,
drawer, drawstring, dry clean, durable, dustproof, easy iron, eco-friendly, ecological, elastic,
embroidered, energy-efficient, energy-saving, engraved, ergonomic, exclusive, expandable,
extendable, extension, fade-proof, fade-resistant, fair trade, fairtrade, fast-drying,
fire-resistant, fireproof, flame-retardant, foldable, folding, footrest, four-way stretch,
fragrance-free, free delivery, free shipping, freezer-safe, gift box, gift wrap, glow, gps,
guarantee, guaranteed, hand wash, hand-crafted, hand-knitted, hand-made, hand-painted,
hand-stitched, hand-washable, hand-woven, handcrafted, handmade, handwoven, hdmi,
headrest, heat-resistant, heated, heating, heatproof, heavy-duty, height-adjustable, hem, hepa,
hood, hooded, hydration, hypoallergenic, illuminated, indestructible, induction, inflatable,
insulated, insulating, insulation, interchangeable, iron-free, kids, knitted, laces, laptop,
lead-free, leak-proof, leakproof, lid, lifetime, lightweight, limited, limited edition,
lined, lining, lock, lockable, long-lasting, luminous, machine wash, machine-washable, magnetic,
maternity, membrane, men, microphone, microwave, microwave-safe, modular, moisture-wicking,
money-back, mosquito net, motorised, motorized, nfc, noise-cancellation, noise-cancelling,
non-slip, non-stick, non-toxic, odour-resistant, odourless, organic, orthopaedic,
orthopedic, oven-safe, oversized, packable, padded, patented, personalised, petite, pets,
phthalate, plastic-free, plus-size, pocket, portable, pre-assembled, pre-shrunk, price, printed,
programmable, quick-drying, quilted, rainproof, rechargeable, reclining, recyclable, recycled,
refillable, reflective, refund, regular, relaxed, remote control, remote-controlled, removable,
replaceable, returns, reversible, robust, rocking, roomy, rotating, rugged, rust-free, rustproof,
sale, scented, scratch-resistant, scratchproof, seam, seamless, self-adhesive, self-cleaning,
self-inflating, sensor, shatterproof, shelf, shipping, shock-absorbent, shockproof, showerproof,
shrink-proof, silent, skinny, sleeve, slim, slim-fit, slip-resistant, snowproof, solar,
solar-powered, solvent-free, soundproof, spacious, speaker, spf, splash-proof, stackable,
stain-proof, stain-resistant, stainless, sterile, strap, stretch, stretchy, sturdy, sun
protection, sustainable, sustainably, swivel, tailored, taped seams, tear-resistant, thermal,
timer, toddler, tool-free, touchscreen, tough, tumble, tumble-dry, turbo, ultralight,
unbreakable, unisex, unlined, usb, usb-c, uv, uv protection, uv-resistant, vacuum-insulated,
vegan, velcro, ventilated, ventilation, vestibule, voice-controlled, warranty, water proof,
water-repellent, water-resistant, waterproof, watertight, weatherproof, wheel, wi-fi, wifi,
wind-resistant, windproof, wireless, women, woven, wrinkle-free, wrinkle-resistant, zip, zipper
"""

_USES = """
all-year, art deco, autumn, balcony, bathroom, beach, bedroom, bohemian, business, camping,
cellar, christmas, classic, climbing, cycling, dining room, elegant, fall, festival,
fishing, fitness, garage, garden, guest room, gym, hallway, hiking, home office, indoor, indoors,
industrial, kitchen, living room, minimalist, mountaineering, nursery, office, outdoor, outdoors,
oven, party, patio, retro, running, rustic, sailing, scandinavian, school, skiing, snowboarding,
sporty, spring, summer, surfing, swimming, terrace, training, travel, trekking, vintage, wedding,
winter, yoga
"""

_CERTIFICATIONS = """
accredited, ansi, approved, astm, award, b corp, blauer engel, blue angel, bluesign, ce
marked, certificate, certification, certified, clinically, cradle to cradle, dermatologist,
doctor, ecolabel, energy star, eu ecolabel, fair wear, fda, fda-approved, fsc, global recycled
standard, gots, grs, gs mark, halal, iso, kosher, lab-tested, laboratory, leaping bunny,
oeko-tex, patent, pefc, peta, rated, rating, rds, responsible down standard, responsible
wool standard, rohs, rws, tested, tüv, ul listed, usda
"""

_SUPERLATIVES = """
100 %,  best, biggest, cheapest,  everything, fastest,
finest, flawless, greatest, groundbreaking, highest, iconic, incomparable, instantly,
largest, leading, legendary, lightest, lowest, luxurious, luxury, magical, miracle, most advanced,
most comfortable, most durable, most popular, no. 1, number one, once in a lifetime,
perfect, perfection, perfectly, premium, revolutionary, risk-free, safest, second to none,
smallest, softest, strongest, superior, supreme, top-quality, top-rated, toughest,
ultimate, unbeatable, unmatched, unparalleled, unrivaled, unrivalled, unsurpassed, warmest,
 world-class
"""


def _phrases(block: str) -> tuple[str, ...]:
    return tuple(
        " ".join(each.split()) for each in block.replace("\n", " ").split(",") if each.strip()
    )


CLAIM_WORDS: dict[ClaimKind, tuple[str, ...]] = {
    ClaimKind.MATERIAL: _phrases(_MATERIALS),
    ClaimKind.COLOUR: _phrases(_COLOURS),
    ClaimKind.FEATURE: _phrases(_FEATURES),
    ClaimKind.USE: _phrases(_USES),
    ClaimKind.CERTIFICATION: _phrases(_CERTIFICATIONS),
    ClaimKind.SUPERLATIVE: _phrases(_SUPERLATIVES),
}
# What follows these, up to the end of the clause, is said to fit the product.
COMPATIBILITY_OPENERS = (
    "fits",
    "fit for",
    "fits into",
    "designed for",
    "suitable for",
    "made for",
    "suits",
    "supports",
)
# What follows these is said to go with the product: only a line that says so grants it.
MATCH_OPENERS = (
    "goes with", "go with", "goes well with", "goes well beside", "goes well together with",
    "to go with", "compatible with", "works with", "works well with", "pairs with",
    "pairs well with", "pair it with", "team it with", "wear it with", "combine it with",
    "connects to", "connects with", "put it together with", "belongs beside", "use it with",
    "matches", "matches with", "match it with", "combines with", "fits onto",
)  # fmt: skip
# What follows these is said to be where the product is from.
ORIGIN_OPENERS = (
    "made in", "crafted in", "produced in", "manufactured in", "built in", "woven in",
    "knitted in", "sewn in", "handmade in", "assembled in", "grown in", "designed in",
    "imported from", "product of", "comes from", "it is from", "sourced from", "shipped from",
)  # fmt: skip
# What follows these is said to be part of the product.
POSSESSION_OPENERS = (
    "it has", "it also has", "which has", "that has", "has a", "has an", "has its own",
    "comes with", "it includes", "which includes", "includes a", "including a", "including an",
    "equipped with", "fitted with", "featuring", "it features", "features a", "features an",
    "boasts", "supplied with", "provided with", "complete with", "it contains", "it offers",
    "offers a", "offers an", "it holds a", "it hides a", "with a", "with an", "with its",
    "with built-in", "with integrated", "plus a", "plus an", "thanks to a", "thanks to an",
    "there is a", "there is an", "you get a", "you get an", "you also get", "enjoy a", "enjoy an",
)  # fmt: skip
# Words by which a text names a measure, and the attribute names they stand for.
MEASURE_WORDS: dict[str, str] = {
    "wide": "width", "width": "width", "broad": "width",
    "tall": "height", "high": "height", "height": "height",
    "deep": "depth", "depth": "depth",
    "long": "length", "length": "length",
    "thick": "thickness", "thickness": "thickness",
    "weigh": "weight", "weight": "weight", "heavy": "weight",
    "diameter": "diameter", "across": "diameter",
    "volume": "volume", "capacity": "volume", "hold": "volume",
    "warranty": "warranty", "guarantee": "warranty",
    "temperature": "temperature", "wash": "wash",
    "sleep": "sleeps", "piece": "pieces", "power": "power",
    "pile": "pile", "heel": "heel", "cable": "cable", "thread": "thread",
}  # fmt: skip
