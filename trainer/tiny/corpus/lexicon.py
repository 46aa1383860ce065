"""Word lists and sentence patterns of the phrasebook, in three languages. Data only.

A pattern's `{slots}` are filled by `trainer.tiny.corpus.phrasebook`; a pattern without slots is a fixed phrase. `?`
at the end marks a question, everything else becomes a statement.
"""

from __future__ import annotations

NAMES = (
    "Rakoto Rabe Rasoa Hery Soa Lala Haja Fara Tiana Voahangy Mamy Nirina Andry Toky Miora Lova Faniry Ravo Hanitra "
    "Naina Rivo Tahina Noro Bakoly Ndriana Sitraka Onja Malala Tojo Fidy Aina Zoky Hasina Vonjy Mirana Rado"
).split()
CITIES = (
    "Antananarivo Toamasina Mahajanga Fianarantsoa Toliara Antsiranana Antsirabe Ambositra Moramanga Morondava "
    "Manakara Ambatondrazaka Sambava Antalaha Farafangana Ihosy Ambanja Maroantsetra Ambatolampy Arivonimamo "
    "Mananjary Vangaindrano Betioky Ambilobe Maevatanana Miarinarivo Tsiroanomandidy Vohemar Mandritsara Ampanihy"
).split()

MG: dict[str, list[str]] = {
    "name": NAMES,
    "city": CITIES,
    "spot": (
        "tsena sekoly hopitaly gara fiangonana trano lalana fivarotana banky lapa seranana kianja tranombarotra "
        "farmasia paositra tetezana renirano tanimbary ala lakozia efitra fasana lavarangana morontsiraka"
    ).split(),
    "good": (
        "vary hena trondro voatabia tongolo ovy mangahazo akondro manga voasary paiso mofo ronono atody siramamy sira "
        "menaka kafe dite tantely lavanila voanjo tsaramaso anana karaoty mananasy letisy lamba satroka kiraro boky "
        "penina savony labozia harona akoho gana omby dipoavatra sakamalaho jirofo rano katsaka voanio"
    ).split(),
    "unit": "kilao litatra gony vata kapoaka fonosana tavoahangy harona metatra".split(),
    "day": "alatsinainy talata alarobia alakamisy zoma sabotsy alahady".split(),
    "month": ("janoary febroary martsa aprily mey jona jolay aogositra septambra oktobra novambra desambra").split(),
    "part": "maraina atoandro tolakandro hariva alina".split(),
    "when": ["androany", "omaly", "rahampitso", "anio", "rahariva", "afak'omaly", "isan'andro", "matetika"],
    "person": [
        "mpianatra",
        "mpampianatra",
        "dokotera",
        "mpivarotra",
        "mpamboly",
        "mpamily",
        "zaza",
        "ankizy",
        "ray aman-dreny",
        "renibe",
        "raibe",
        "rahavavy",
        "rahalahy",
        "namana",
        "vahiny",
        "mpiasa",
        "mpanjono",
        "mpitsabo",
    ],
    "quality": (
        "tsara ratsy lehibe kely vaovao tranainy mora lafo mafana mangatsiaka manga mena fotsy mainty maitso mavo "
        "mamy mangidy malaza madio maloto mahafinaritra haingana miadana"
    ).split(),
    "act": "mihinana mividy mivarotra mitady mitondra mila mahandro manasa mampiasa mandanja".split(),
    "move": "mandeha miverina tonga miainga miasa mipetraka miandry mandalo matory milalao".split(),
    "year": [],
}
MG_PATTERNS: dict[str, list[str]] = {
    "number": ["{number}", "{number}", "{number}", "{number}", "{big}", "{number} ariary", "isa {number}"],
    "greeting": [
        "manao ahoana tompoko?",
        "salama tompoko",
        "manao ahoana ianao?",
        "tsara fa misaotra",
        "misaotra betsaka tompoko",
        "misaotra indrindra",
        "veloma tompoko",
        "mandra-pihaona",
        "azafady tompoko",
        "tonga soa eto Madagasikara",
        "eny tompoko",
        "tsia tompoko",
        "iza no anaranao?",
        "avy aiza ianao?",
        "mazotoa homana",
        "tratry ny taona",
        "tsy misy fotony",
        "alina tsara",
        "faly mahafantatra anao",
        "inona no vaovao?",
        "tsy misy vaovao",
        "salama daholo ny fianakaviana",
        "tsy azoko ny teninao",
        "miteny malagasy ve ianao?",
        "mianatra teny malagasy aho",
        "salama {name}",
        "manao ahoana {name}?",
        "ny anarako dia {name}",
        "{name} no anarako",
        "veloma {name}, mandra-pihaona amin'ny {day}",
        "misaotra {name}, tsara ny {good}",
        "faly mahita anao eto {city} aho",
        "avy any {city} i {name}",
        "iza no anaran'ny {person}?",
        "arahabaina ianao {name}",
        "azafady {name}, aiza ny {spot}?",
        "tratry ny taona ry {name} sy {name}",
    ],
    "market": [
        "ohatrinona ny {good}?",
        "ohatrinona ny iray kilao amin'ny {good}?",
        "{price} ariary ny {good}",
        "{price} ariary ny {good} iray {unit}",
        "lafo loatra ny {good}",
        "tsy misy {good} {when}",
        "mila {good} {small} {unit} aho",
        "te hividy {good} sy {good} aho",
        "omeo {good} {small} {unit} azafady",
        "mivarotra {good} sy {good} ny {person}",
        "novidiko {price} ariary ny {good}",
        "mora ny {good} any {city}",
        "azo ahena ve ny vidin'ny {good}?",
        "{quality} ny {good} eto",
        "{small} {unit} ny {good} novidin'i {name}",
        "{act} {good} {quality} ny {person}",
        "firy {unit} ny {good} ilainao?",
        "lany ny {good} tany an-tsena",
        "{price} ariary ny vidiny rehetra",
        "tokony ho {price} ariary ny {good}",
    ],
    "place": [
        "aiza ny {spot}?",
        "aiza no misy {spot} {quality}?",
        "handeha ho any {city} aho {when}",
        "avy any {city} izahay",
        "monina any {city} i {name}",
        "lavitra ve ny {spot}?",
        "akaikin'ny {spot} ny {spot}",
        "mivilia havanana eo amin'ny {spot}",
        "mivilia havia eo amin'ny {spot}",
        "{number} kilometatra miala eto {city}",
        "{move} any amin'ny {spot} ny {person}",
        "misy {spot} {small} ao {city}",
        "{quality} ny {spot} any {city}",
        "{number} ny mponina ao {city}",
        "{move} any {city} i {name} {when}",
        "eo anilan'ny {spot} ny tranon'i {name}",
        "mafana be any {city} {when}",
        "avy ny orana tany {city} {when}",
    ],
    "time": [
        "amin'ny firy izao?",
        "amin'ny {hour} izao",
        "amin'ny {hour} sy sasany {part}",
        "amin'ny {hour} {part} no miainga ny fiara",
        "ny {day} {date} {month}",
        "ny {date} {month} {year}",
        "tamin'ny {day} no tonga i {name}",
        "{day} {when}",
        "tamin'ny taona {year}",
        "teraka tamin'ny {date} {month} {year} i {name}",
        "hihaona amin'ny {day} {part} isika",
        "naharitra ora {small} ny dia",
        "{small} minitra sisa",
        "{age} taona i {name}",
        "mihidy amin'ny {hour} ny {spot}",
        "isaky ny {day} no misy tsena any {city}",
        "rahoviana no {move} ny {person}?",
    ],
    "life": [
        "{act} {good} ny {person}",
        "{act} {good} i {name} {when}",
        "{move} {when} ny {person}",
        "{quality} ny {good} fa {quality} ny {spot}",
        "misy mpianatra {number} ao amin'ny sekoly",
        "manan-janaka {small} i {name}",
        "tian'i {name} ny {good} {quality}",
        "tsy {act} {good} ny {person}",
        "mangatsiaka ny andro {when}",
        "{move} miaraka amin'ny {person} i {name}",
        "noho ny orana dia {move} ny {person}",
        "hoy i {name} hoe {quality} ny {good}",
        "telefaonin'i {name} {phone}",
    ],
}
MG_WEIGHTS = {"number": 5, "greeting": 3, "market": 5, "place": 4, "time": 4, "life": 4, "sounds": 2}

FR: dict[str, list[str]] = {
    "name": "Marie Pierre Julie Paul Claire Thomas Sophie Luc Anne Hugo".split(),
    "city": "Paris Lyon Marseille Nantes Bordeaux Lille Strasbourg Rennes".split(),
    "spot": "le marché|la gare|l'école|l'hôpital|la banque|la maison|le port|le pont".split("|"),
    "good": "du pain|du riz|du lait|des tomates|du café|des pommes|du sucre|du poisson".split("|"),
    "day": "lundi mardi mercredi jeudi vendredi samedi dimanche".split(),
    "month": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(),
}
FR_PATTERNS: dict[str, list[str]] = {
    "all": [
        "{number}",
        "bonjour {name}",
        "merci beaucoup {name}",
        "au revoir et à demain",
        "comment allez-vous?",
        "je m'appelle {name}",
        "où est {spot}?",
        "je voudrais {good}",
        "{name} achète {good} et {good}",
        "cela coûte {number} euros",
        "il est {hour} heures",
        "nous sommes le {date} {month}",
        "je pars pour {city} {day}",
        "{name} habite à {city}",
        "il y a {number} personnes à {city}",
        "{spot} ferme à {hour} heures",
        "{name} mange {good} tous les jours",
    ]
}
EN: dict[str, list[str]] = {
    "name": "Mary Peter Alice John Emma David Sarah James Lucy Henry".split(),
    "city": "London Paris Dublin Boston Oxford Chicago Sydney Toronto".split(),
    "spot": "the market|the station|the school|the hospital|the bank|the house|the harbour|the bridge".split("|"),
    "good": "bread|rice|milk|tomatoes|coffee|apples|sugar|fish".split("|"),
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "month": ("January February March April May June July August September October November December").split(),
}
EN_PATTERNS: dict[str, list[str]] = {
    "all": [
        "{number}",
        "good morning {name}",
        "thank you very much {name}",
        "goodbye and see you tomorrow",
        "how are you today?",
        "my name is {name}",
        "where is {spot}?",
        "I would like some {good}",
        "{name} buys {good} and {good}",
        "that is {number} pounds",
        "it is {hour} o'clock",
        "today is the {date} of {month}",
        "I am leaving for {city} on {day}",
        "{name} lives in {city}",
        "there are {number} people in {city}",
        "{spot} closes at {hour} o'clock",
        "{name} eats {good} every day",
    ]
}
