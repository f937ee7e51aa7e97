"""Plain words: the vocabulary that claims nothing which a specification would have to grant.

Only data. A word of a text that is neither here, nor in the product's facts, nor in a style guide's
own vocabulary is taken for a claim that nobody can trace.
"""

_FUNCTION = """
a about above across after again against all along also although always am among an and another
any are around as at away back be because been before behind being below beneath beside besides
between beyond both but by can can't cannot come could day days did do does doesn't doing don't
done down during each either else enough even ever every few first for from full further gets
getting give given gives go goes going gone good had half has have having he her here here's hers
him his how however i if in indeed inside instead into is isn't it it's its itself just keep keeps
kept last later least left less let lets like likes little long look looks made make makes making
many may maybe me mean means meant meanwhile might mine more moreover most much must my near
nearly need needs neither next no nor not nothing now of off often on once one ones only onto open
or other others our ours out outside over own part per place places put puts quite rather ready
really right same say says see seen set sets several shall she should show shows side simply since
so some something sometimes soon still such take takes than that that's the their theirs them then
there there's these they they're thing things this those though through throughout till time times
to today together tomorrow tonight too toward towards turn turns under until up upon us use used
useful uses using very want wants was way ways we we've well went were what whatever when whenever
where wherever whether which while who whole whom whose why will with within without won't would
year you you'll you're your yours yourself
"""

_DESCRIBING = """
hello chose think thinks thinking searched say searching figure figures click request order ordered
able accent accents accessories accessory accompanies accompany according account achieve act
active adapt adapting adapts add added adding addition additional adds adventure adventures
aesthetic affair afternoon ahead aim air airy alike allow allows alone already amount anchor
answer anyone anything anywhere apart appeal appear appreciate approach area areas armchair
armchairs arrange arrive arrives art aside ask asks asset atmosphere attention attractive backdrop
backpack backpacks backs bag bags balance balanced base based basic basics basis beautiful
beautifully beauty bed bedding bedrooms begin beginning begins believe belong belongs benefit
benefits better big bit blend blends block board body bold book books boot boots border bottle
bottles bottom bottoms bound box boxes brand breakfast breeze brief bright brilliant bring
bringing brings brush build built busy buy call calls calm capable capacity captures care cared
careful carefully carried carries carry carrying case casual catalogue category cater celebrate
centre certain chair chairs change changes changing chapter character charm charming check chic
choice choices choose chosen city classics clean cleaning clear clearly close closer closet
clothes coat coats coffee cold collect collection colour colourful colours combination combine
combines comes comfort comfortable comfortably comforting commute companion companions
compartments complement complements complete completes completing concept confidence confident
connect consider considered consistent construction contain contains contemporary content contrast
control cook cooking cooks cookware cool copy core corner corners cosy count counter country
couple course cover covering covers craft crafted create creates creating cup curated curtain
curtains customers cut daily damp dark dear decor decorate delicate delight delightful
dependability dependable depth describe deserve design designed desk detail detailed details
determined diameter difference different dimension dimensions dine dining dinner dinners direct
dish dishes distinct distinctive distinguished door doors double drape drapes drawn dreams dress
dressed dresses drink drinks drive dry due durability dust ease easily easy easygoing eat edge
edges effect effective effort effortless effortlessly either element elements elevate elevates
embrace embraces emphasis emphasise end ends enhance enhances enhancing enjoy enjoyed enjoyment
ensure ensures ensuring entertain entire entry equally equipment errand errands especially essence
essential essentials establish evening evenings everyday exactly example excellent exceptional
exciting expect experience expert express extend extends extra eye eyes fabric face fact facts
familiar family fashion fast favourite feast feature features featuring feel feeling feels feet
figure fill fills final find finding finds fine finish finished firm fit fits fitting flair flat
flexible flow focus fold folds follow follows food foot form formal forms found foundation frame
free freely frequent fresh friend friendly friends front fronts fun function functional furnish
furnishing furniture future gather gathering gatherings gear generation generous gentle gently
gets gift glance glow grace graceful gracefully grain great grip ground group grow guest guests
guide habit hand handle handles handling hands handy hang hanging happen happily happy hard hardly
harmonious harmony head healthy hear heart heat heavy height help helping helps high highlight
highlights hint hobby hold holding holds holiday holidays home homes honest hosting hour hours
house household household's hug human idea ideal ideally ideas important impress impression
impressive improve include included includes including individual indoors influence inner insight
inspired intended intention interest interesting interior interiors introduce introducing
investment invite invites inviting item items jeans join journey joy keen kind kinds kitchens
kitchenware knitwear know known label lamp lamps land language large lasting lay layer layering
layers layout lead learn leave leaves leisure lend lends length level lie life lifestyle lift
light lighting lightly likely line lines linger link list listed live lives living local location
locations longer lot lounge lounges loungewear lounging love loved lovely loves low luggage lunch
machine main maintain maintenance major maker makers manage manner mark marks master match matches
matching material materials matter meal meals measure measured measures measuring medium meet
meets memorable method middle mile miles mind minimal minute minutes mirror mix model modern
modest moment moments monday month months mood morning mornings move moves moving mug music name
named natural naturally neat neatly neutral new nice night nights noble normal note notes notice
number numbers object occasion occasional occasions offering offers options order ordinary origin
original originally outfit outfits outing outings outstanding overall owner pace pack packaging
packed packing packs page pair paired pairing pairs pale palette park particular path pattern
pause peace peaceful people person personal personality pick picnic picture piece piece's pieces
pile plain plan plate plates play pleasant please pleased pleasing pleasure plenty point polished
pop popular position pour power practical prefer prepare prepared presence present presents pretty
print prize problem process product product's products professional promise proof proportions
proud proven provide provides providing purchase pure
purpose purposeful pursue quality quick quickly quiet quietly rain rainwear rainy range rated
reach read reason reasons refined reflect reflects refresh relax relaxation relaxing reliable
reliably rely remain remains remember repeat require requires respond rest result reveal reward
rich road roll rolls room rooms round routine routines row rug rugs run runs sales sandwich
satisfying saturday save scarf scarves scene schedule screen sculptural search season seasons seat
seating seconds secure securely seek select selected sense sensible separate series serious serve
serves serving setting settings settle setup shade shape shaped shapes share sharp shelves shine
shirt shirts shoe shoes shop shopper shoppers shopping short showcase shower sides sight sign
signature silhouette simple simplicity single sip sit sits sitting situation size sized sizes skin
sleek sleep sleeper sleeping slip slow small smart smooth smoothly sneakers snug social sofa sofas
soft softly solid solution somebody someone soothing sophisticated sort sound source space spaces
spare speak spec special specially specific specification specifications specs spend spirit
spirited spot stage stairs stand standing stands start starts stated statement stay stays steady
step stitch stop storage store stores story stove straight straightforward street strike striking
strong structure student sturdiness style styled styles styling stylish stylishly subtle subtly
successful suit suitable suited suits sunday sunny supply support supported supportive supports
sure surely surface surfaces surprise surrounding sweet switch table tables tableware tag tall
task tasks taste tasteful tastefully tea team technical tell tells temperature tent tents term
texture textures theme thickness thought thoughtful thoughtfully thread tidy tie tight timeless
timelessly told tone tones tool tools top tops total touches town track tradition traditional
trail trails transform transforms transition travel treat trend trends tribute trim trip trips
trousers true truly trust trusted try twist type typical understated unfussy unique unit unwind
update updated upgrade upright usage user users usual utility value variety vary versatile
versatility version vibe vibrant view vision visit visitors volume wait wake walk walks wall walls
wardrobe warm warmer warmly warmth wash washing water wear wearable wearer wearing wears
weather weave week weekend weekends weigh weighs weight welcome welcomes welcoming wherever wide
width wipe wipes wish wonderful wonderfully word words wore work workday working works world worn
worry worth wrap wraps write written yet young zone
"""


def _words(block: str) -> frozenset[str]:
    return frozenset(block.split())


PLAIN_WORDS = _words(_FUNCTION) | _words(_DESCRIBING)
FUNCTION_WORDS = _words(_FUNCTION)
# What a product may be said to have without having more: "it has a look of its own".
ABSTRACT_WORDS = _words(
    """
    look looks style feel feeling charm character touch name place way story mood moment space
    sense idea page list note finish design shape form size number fact price word description
    title brand category choice reason purpose value home room day life friend people person
    accent statement impression calm warmth kind sort good new simple clear own lot bit little
    """
)
