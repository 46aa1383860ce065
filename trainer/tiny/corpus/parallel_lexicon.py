"""The phrasebook's words side by side in Malagasy, French and English. Data only.

One line a word, fields separated by `|`. Tags are French: m, f, and p for what French and English say in the plural.
`trainer.tiny.corpus.parallel_patterns` has the sentences, `trainer.tiny.corpus.phrasebook_pairs` puts both together.
"""

from __future__ import annotations


def _table(text: str) -> dict[str, list[str]]:
    """Malagasy word -> the other fields of its line."""
    rows = [line.split("|") for line in text.strip().splitlines()]
    return {row[0]: row[1:] for row in rows}


WOMEN = frozenset(
    "Rasoa Soa Lala Fara Voahangy Nirina Miora Lova Faniry Ravo Hanitra Noro Bakoly Onja Malala Fidy Aina Mirana Marie "
    "Julie Claire Sophie Anne Mary Alice Emma Sarah Lucy".split()
)
"""French adjectives and participles agree with the person; every other name counts as a man's."""

GOODS = _table("""
vary|m|riz|rice
hena|f|viande|meat
trondro|m|poisson|fish
voatabia|fp|tomates|tomatoes
tongolo|mp|oignons|onions
ovy|fp|pommes de terre|potatoes
mangahazo|m|manioc|cassava
akondro|fp|bananes|bananas
manga|fp|mangues|mangoes
voasary|fp|oranges|oranges
paiso|fp|pêches|peaches
paoma|fp|pommes|apples
mofo|m|pain|bread
ronono|m|lait|milk
atody|mp|œufs|eggs
siramamy|m|sucre|sugar
sira|m|sel|salt
menaka|f|huile|oil
kafe|m|café|coffee
dite|m|thé|tea
tantely|m|miel|honey
lavanila|f|vanille|vanilla
voanjo|fp|cacahuètes|peanuts
tsaramaso|mp|haricots|beans
anana|fp|brèdes|greens
karaoty|fp|carottes|carrots
mananasy|mp|ananas|pineapples
letisy|mp|litchis|lychees
lamba|m|tissu|cloth
satroka|mp|chapeaux|hats
kiraro|fp|chaussures|shoes
boky|mp|livres|books
penina|mp|stylos|pens
savony|m|savon|soap
labozia|fp|bougies|candles
harona|mp|paniers|baskets
akoho|m|poulet|chicken
gana|m|canard|duck
omby|m|bœuf|beef
dipoavatra|m|poivre|pepper
sakamalaho|m|gingembre|ginger
jirofo|mp|clous de girofle|cloves
rano|f|eau|water
katsaka|m|maïs|corn
voanio|fp|noix de coco|coconuts
""")

SPOTS = _table("""
tsena|m|marché|marchés|market|markets
sekoly|f|école|écoles|school|schools
hopitaly|m|hôpital|hôpitaux|hospital|hospitals
gara|f|gare|gares|station|stations
fiangonana|f|église|églises|church|churches
trano|f|maison|maisons|house|houses
lalana|f|route|routes|road|roads
fivarotana|f|boutique|boutiques|shop|shops
banky|f|banque|banques|bank|banks
lapa|m|palais|palais|palace|palaces
seranana|m|port|ports|harbour|harbours
kianja|m|stade|stades|stadium|stadiums
tranombarotra|m|magasin|magasins|store|stores
farmasia|f|pharmacie|pharmacies|pharmacy|pharmacies
paositra|f|poste|postes|post office|post offices
tetezana|m|pont|ponts|bridge|bridges
renirano|f|rivière|rivières|river|rivers
tanimbary|f|rizière|rizières|rice field|rice fields
ala|f|forêt|forêts|forest|forests
lakozia|f|cuisine|cuisines|kitchen|kitchens
efitra|f|chambre|chambres|room|rooms
fasana|m|tombeau|tombeaux|tomb|tombs
lavarangana|f|véranda|vérandas|veranda|verandas
morontsiraka|f|côte|côtes|coast|coasts
""")

UNITS = _table("""
kilao|m|kilo|kilos|kilo|kilos
litatra|m|litre|litres|litre|litres
gony|m|sac|sacs|sack|sacks
vata|f|caisse|caisses|crate|crates
kapoaka|f|boîte|boîtes|tin|tins
fonosana|m|paquet|paquets|packet|packets
tavoahangy|f|bouteille|bouteilles|bottle|bottles
harona|m|panier|paniers|basket|baskets
metatra|m|mètre|mètres|metre|metres
""")

PERSONS = _table("""
mpianatra|m|élève|pupil
mpampianatra|m|professeur|teacher
dokotera|m|docteur|doctor
mpivarotra|m|vendeur|seller
mpamboly|m|cultivateur|farmer
mpamily|m|chauffeur|driver
zaza|m|enfant|child
ankizy|mp|enfants|children
ray aman-dreny|mp|parents|parents
renibe|f|grand-mère|grandmother
raibe|m|grand-père|grandfather
rahavavy|f|sœur|sister
rahalahy|m|frère|brother
namana|m|ami|friend
vahiny|m|invité|guest
mpiasa|m|ouvrier|worker
mpanjono|m|pêcheur|fisherman
mpitsabo|m|médecin|physician
""")

QUALITIES = _table("""
tsara|bon|bonne|bons|bonnes|good
ratsy|mauvais|mauvaise|mauvais|mauvaises|bad
lehibe|grand|grande|grands|grandes|big
kely|petit|petite|petits|petites|small
vaovao|nouveau|nouvelle|nouveaux|nouvelles|new
tranainy|ancien|ancienne|anciens|anciennes|old
mora|bon marché|bon marché|bon marché|bon marché|cheap
lafo|cher|chère|chers|chères|expensive
mafana|chaud|chaude|chauds|chaudes|hot
mangatsiaka|froid|froide|froids|froides|cold
manga|bleu|bleue|bleus|bleues|blue
mena|rouge|rouge|rouges|rouges|red
fotsy|blanc|blanche|blancs|blanches|white
mainty|noir|noire|noirs|noires|black
maitso|vert|verte|verts|vertes|green
mavo|jaune|jaune|jaunes|jaunes|yellow
mamy|sucré|sucrée|sucrés|sucrées|sweet
mangidy|amer|amère|amers|amères|bitter
malaza|célèbre|célèbre|célèbres|célèbres|famous
madio|propre|propre|propres|propres|clean
maloto|sale|sale|sales|sales|dirty
mahafinaritra|agréable|agréable|agréables|agréables|pleasant
haingana|rapide|rapide|rapides|rapides|fast
miadana|lent|lente|lents|lentes|slow
""")
BEFORE_THE_NOUN = frozenset({"tsara", "ratsy", "lehibe", "kely", "vaovao"})

# past, future | je, il, nous, vous, ils | participle | stem of the future | particle | he, they, past
ACTS = _table("""
mihinana|nihinana|hihinana|mange|mange|mangeons|mangez|mangent|mangé|manger||eats|eat|ate
mividy|nividy|hividy|achète|achète|achetons|achetez|achètent|acheté|achèter||buys|buy|bought
mivarotra|nivarotra|hivarotra|vends|vend|vendons|vendez|vendent|vendu|vendr||sells|sell|sold
mitady|nitady|hitady|cherche|cherche|cherchons|cherchez|cherchent|cherché|chercher||looks for|look for|looked for
mitondra|nitondra|hitondra|apporte|apporte|apportons|apportez|apportent|apporté|apporter||brings|bring|brought
mila|nila|hila|ai|a|avons|avez|ont|eu|aur|besoin|needs|need|needed
mahandro|nahandro|hahandro|cuisine|cuisine|cuisinons|cuisinez|cuisinent|cuisiné|cuisiner||cooks|cook|cooked
manasa|nanasa|hanasa|lave|lave|lavons|lavez|lavent|lavé|laver||washes|wash|washed
mampiasa|nampiasa|hampiasa|utilise|utilise|utilisons|utilisez|utilisent|utilisé|utiliser||uses|use|used
mandanja|nandanja|handanja|pèse|pèse|pesons|pesez|pèsent|pesé|pèser||weighs|weigh|weighed
""")
MOVES = _table("""
mandeha|nandeha|handeha|vais|va|allons|allez|vont|allé|ir||goes|go|went
miverina|niverina|hiverina|reviens|revient|revenons|revenez|reviennent|revenu|reviendr||comes back|come back|came back
tonga|tonga|ho tonga|arrive|arrive|arrivons|arrivez|arrivent|arrivé|arriver||arrives|arrive|arrived
miainga|niainga|hiainga|pars|part|partons|partez|partent|parti|partir||leaves|leave|left
miasa|niasa|hiasa|travaille|travaille|travaillons|travaillez|travaillent|travaillé|travailler||works|work|worked
mipetraka|nipetraka|hipetraka|reste|reste|restons|restez|restent|resté|rester||stays|stay|stayed
miandry|niandry|hiandry|attends|attend|attendons|attendez|attendent|attendu|attendr||waits|wait|waited
mandalo|nandalo|handalo|passe|passe|passons|passez|passent|passé|passer||passes|pass|passed
matory|natory|hatory|dors|dort|dormons|dormez|dorment|dormi|dormir||sleeps|sleep|slept
milalao|nilalao|hilalao|joue|joue|jouons|jouez|jouent|joué|jouer||plays|play|played
""")
WITH_ETRE = frozenset({"mandeha", "miverina", "tonga", "miainga", "mipetraka", "mandalo"})
ENGLISH_PLACE = {"mandeha": "to", "miverina": "to", "miainga": "from", "mandalo": "by"}
"""`at` for the other verbs (`in` before a city)."""

PRONOUNS = {"aho": (0, "je~", "I"), "izahay": (2, "nous ", "we"), "ianao": (3, "vous ", "you"), "izy": (1, "il ", "he")}
"""Malagasy -> (index of the French person in je, il, nous, vous, ils; French; English)."""
PRONOUNS["izy ireo"] = (4, "ils ", "they")

DAYS = _table("""
alatsinainy|lundi|Monday
talata|mardi|Tuesday
alarobia|mercredi|Wednesday
alakamisy|jeudi|Thursday
zoma|vendredi|Friday
sabotsy|samedi|Saturday
alahady|dimanche|Sunday
""")
MONTHS = _table("""
janoary|janvier|January
febroary|février|February
martsa|mars|March
aprily|avril|April
mey|mai|May
jona|juin|June
jolay|juillet|July
aogositra|août|August
septambra|septembre|September
oktobra|octobre|October
novambra|novembre|November
desambra|décembre|December
""")
PARTS = _table("""
maraina|du matin|matin|in the morning|morning
atoandro|du midi|midi|at midday|midday
tolakandro|de l'après-midi|après-midi|in the afternoon|afternoon
hariva|du soir|soir|in the evening|evening
alina|de la nuit|dans la nuit|at night|night
""")
WHENS = _table("""
androany|aujourd'hui|today|0
omaly|hier|yesterday|1
rahampitso|demain|tomorrow|2
anio|aujourd'hui|today|0
rahariva|ce soir|this evening|2
afak'omaly|avant-hier|the day before yesterday|1
isan'andro|chaque jour|every day|0
matetika|souvent|often|0
""")
"""The last field is the tense: 0 present, 1 past, 2 future."""
