"""Sentences of the phrasebook side by side: patterns with slots, and fixed phrases. Data only.

In a pattern `{slot}` is a word, `{slot.form}` one of its forms, `@other` makes it agree with another slot, `+other`
takes an object or an adjective in; `[a|b|c]` is present, past or future, whichever the sentence is in (a fourth one is
what the speech phrasebook has, which knows no tenses); `~` is where French elides (de~Antsirabe -> d'Antsirabe).
The Malagasy side in its first form is a pattern of `trainer.tiny.corpus.lexicon`: all of them are here, and a few more.
"""

# ruff: noqa: E501  one pattern a line
from __future__ import annotations

PATTERNS: dict[str, str] = {
    "number": """
{number} = {number} = {number}
{number} = {number} = {number}
{number} ariary = {number} ariary = {number} ariary
isa {number} = le nombre {number} = the number {number}
{big} = {big} = {big}
""",
    "greeting": """
salama {name} = bonjour {name} = hello {name}
manao ahoana {name}? = comment allez-vous {name}? = how are you {name}?
ny anarako dia {name} = mon nom est {name} = my name is {name}
{name} no anarako = je m'appelle {name} = I am called {name}
veloma {name}, mandra-pihaona amin'ny {day} = au revoir {name}, à {day} = goodbye {name}, see you on {day}
misaotra {name}, tsara ny {good} = merci {name}, {good} {est@good} {tsara@good} = thank you {name}, {good} {is@good} good
faly mahita anao eto {city} aho = je suis content de vous voir à {city} = I am glad to see you in {city}
avy any {city} i {name} = {name} vient de~{city} = {name} comes from {city}
iza no anaran'ny {person}? = comment s'{appelle@person} {person}? = what {is@person} the name of {person}?
arahabaina ianao {name} = félicitations {name} = congratulations {name}
azafady {name}, aiza ny {spot}? = excusez-moi {name}, où est {spot}? = excuse me {name}, where is {spot}?
tratry ny taona ry {name} sy {name2} = bonne année {name} et {name2} = happy new year {name} and {name2}
misaotra betsaka {name} = merci beaucoup {name} = thank you very much {name}
tonga soa eto {city} = bienvenue à {city} = welcome to {city}
tonga soa {name} = bienvenue {name} = welcome {name}
veloma {name} = au revoir {name} = goodbye {name}
iza moa i {name}? = qui est {name}? = who is {name}?
""",
    "market": """
ohatrinona ny {good}? = combien {coûte@good} {good}? = how much {is@good} {good}?
ohatrinona ny iray kilao amin'ny {good}? = combien coûte un kilo {good.de}? = how much is a kilo of {good.bare}?
{price} ariary ny {good} = {good} {coûte@good} {price} ariary = {good} {costs@good} {price} ariary
{price} ariary ny {good} iray {unit} = {unit.un} {good.de} coûte {price} ariary = {unit.a} of {good.bare} costs {price} ariary
lafo loatra ny {good} = {good} {est@good} trop {lafo@good} = {good} {is@good} too expensive
tsy [misy|nisy|hisy] {good} {when} = il n'y [a|avait|aura] pas {good.de} {when} = there [{is@good}|{was@good}|will be] no {good.bare} {when}
mila {good} {small} {unit} aho = j'ai besoin de {small@unit} {unit@small} {good.de} = I need {small} {unit@small} of {good.bare}
te hividy {good} sy {good2} aho = je voudrais acheter {good.du} et {good2.du} = I would like to buy {good.bare} and {good2.bare}
omeo {good} {small} {unit} azafady = donnez-moi {small@unit} {unit@small} {good.de} s'il vous plaît = give me {small} {unit@small} of {good.bare} please
mivarotra {good} sy {good2} ny {person} = {person} {vend@person} {good.du} et {good2.du} = {person} {sells@person} {good.bare} and {good2.bare}
novidiko {price} ariary ny {good} = j'ai acheté {good} pour {price} ariary = I bought {good} for {price} ariary
mora ny {good} any {city} = {good} {est@good} bon marché à {city} = {good} {is@good} cheap in {city}
azo ahena ve ny vidin'ny {good}? = peut-on baisser le prix {good.du}? = can the price of {good} be lowered?
{quality} ny {good} eto = {good} {est@good} {quality@good} ici = {good} {is@good} {quality} here
{small} {unit} ny {good} novidin'i {name} = {name} a acheté {small@unit} {unit@small} {good.de} = {name} bought {small} {unit@small} of {good.bare}
{act} {good} {quality} ny {person} = {person} {act@person+good+quality} = {person} {act@person+good+quality}
firy {unit} ny {good} ilainao? = combien de {unit.many} {good.de} vous faut-il? = how many {unit.many} of {good.bare} do you need?
lany ny {good} tany an-tsena = il n'y a plus {good.de} au marché = there {is@good} no more {good.bare} at the market
{number} euro ny vidin'izany = cela coûte {number} euro{s@number} = that costs {number} euro{s@number}
{price} ariary ny vidiny rehetra = le prix total est de {price} ariary = the total price is {price} ariary
tokony ho {price} ariary ny {good} = {good} {coûte@good} environ {price} ariary = {good} {costs@good} about {price} ariary
mila {good} aho = je voudrais {good.du} = I want some {good.bare}
misy {good} ve? = y a-t-il {good.du}? = {is@good} there any {good.bare}?
""",
    "place": """
aiza ny {spot}? = où est {spot}? = where is {spot}?
aiza no misy {spot} {quality}? = où y a-t-il {spot.un+quality}? = where is there {spot.a+quality}?
[mandeha|nandeha|handeha|handeha] [any|tany|ho any|ho any] {city} aho {when} = je~[vais|suis allé|irai] à {city} {when} = I [go|went|will go] to {city} {when}
avy any {city} izahay = nous venons de~{city} = we come from {city}
monina any {city} i {name} = {name} habite à {city} = {name} lives in {city}
lavitra ve ny {spot}? = est-ce que {spot} est loin? = is {spot} far?
akaikin'ny {spot} ny {spot2} = {spot2} est près {spot.du} = {spot2} is near {spot}
mivilia havanana eo amin'ny {spot} = tournez à droite {spot.a} = turn right at {spot}
mivilia havia eo amin'ny {spot} = tournez à gauche {spot.a} = turn left at {spot}
{number} kilometatra miala eto {city} = à {number} kilomètre{s@number} de~{city} = {number} kilometre{s@number} from {city}
{move} any amin'ny {spot} ny {person} = {person} {move.a@person+spot} = {person} {move.a@person+spot}
misy {spot} {small} ao {city} = il y a {small@spot} {spot.many} à {city} = there are {small} {spot.many} in {city}
{quality} ny {spot} any {city} = {spot} est {quality@spot} à {city} = {spot} is {quality} in {city}
{number} ny mponina ao {city} = il y a {number} habitant{s@number} à {city} = there {are@number} {number} inhabitant{s@number} in {city}
{move} [any|tany|any] {city} i {name} {when} = {name} {move.a@name+city} {when} = {name} {move.a@name+city} {when}
eo anilan'ny {spot} ny tranon'i {name} = la maison de~{name} est à côté {spot.du} = the house of {name} is next to {spot}
[mafana|nafana|hafana] be [any|tany|any] {city} {when} = il [fait|faisait|fera] très chaud à {city} {when} = it [is|was|will be] very hot in {city} {when}
[avy|avy|ho avy] ny orana [tany|tany|any] {city} {when} = il [pleut|a plu|pleuvra] à {city} {when} = it [rains|rained|will rain] in {city} {when}
{move} [any|tany|any] amin'ny {spot} {pronoun} {when} = {pronoun}{move.a@pronoun+spot} {when} = {pronoun} {move.a@pronoun+spot} {when}
avy any {city} aho = je viens de~{city} = I come from {city}
monina any {city} aho = j'habite à {city} = I live in {city}
misy olona {number} any {city} = il y a {number.f} personne{s@number} à {city} = there {are@number} {number} {people@number} in {city}
handeha ho any {city} aho amin'ny {day} = je pars pour {city} {day} = I am leaving for {city} on {day}
""",
    "time": """
amin'ny {hour} izao = il est {hour} = it is {hour}
amin'ny {hour} sy sasany {part} = à {hour} et demie {part} = at half past {hour.bare} {part}
amin'ny {hour} {part} no miainga ny fiara = la voiture part à {hour} {part} = the car leaves at {hour} {part}
ny {day} {date} {month} = le {day} {date} {month} = {day} {date} {month}
ny {date} {month} {year} = le {date} {month} {year} = the {date} of {month} {year}
tamin'ny {day} no tonga i {name} = {name} est {arrivé@name} {day} = {name} arrived on {day}
{day} {when} = {when} [c'est|c'était|ce sera] {day} = {when} it [is|was|will be] {day}
tamin'ny taona {year} = en l'an {year} = in the year {year}
teraka tamin'ny {date} {month} {year} i {name} = {name} est {né@name} le {date} {month} {year} = {name} was born on {date} {month} {year}
hihaona amin'ny {day} {part} isika = nous nous verrons {day} {part.bare} = we will meet on {day} {part.bare}
naharitra ora {small} ny dia = le voyage a duré {small.f} heures = the journey took {small} hours
{small} minitra sisa = il reste {small.f} minutes = {small} minutes are left
{age} taona i {name} = {name} a {age} ans = {name} is {age} years old
mihidy amin'ny {hour} ny {spot} = {spot} ferme à {hour} = {spot} closes at {hour}
isaky ny {day} no misy tsena any {city} = le marché de~{city} a lieu chaque {day} = the market of {city} takes place every {day}
rahoviana no {move} ny {person}? = quand {move@person} {person}? = when will {person} {move.base}?
ny {date} {month} androany = nous sommes le {date} {month} = today is the {date} of {month}
{age} taona aho = j'ai {age} ans = I am {age} years old
""",
    "life": """
{act} {good} ny {person} = {person} {act@person+good} = {person} {act@person+good}
{act} {good} i {name} {when} = {name} {act@name+good} {when} = {name} {act@name+good} {when}
{move} {when} ny {person} = {person} {move@person} {when} = {person} {move@person} {when}
{quality} ny {good} fa {quality2} ny {spot} = {good} {est@good} {quality@good} mais {spot} est {quality2@spot} = {good} {is@good} {quality} but {spot} is {quality2}
misy mpianatra {number} ao amin'ny sekoly = il y a {number} élève{s@number} à l'école = there {are@number} {number} pupil{s@number} at the school
manan-janaka {small} i {name} = {name} a {small} enfants = {name} has {small} children
tian'i {name} ny {good} {quality} = {name} aime {good+quality} = {name} likes {good+quality}
tsy {act} {good} ny {person} = {person} {act.not@person+good} = {person} {act.not@person+good}
[mangatsiaka|nangatsiaka|hangatsiaka] ny andro {when} = il [fait|faisait|fera] froid {when} = it [is|was|will be] cold {when}
{move} miaraka amin'ny {person} i {name} = {name} {move@name} avec {person} = {name} {move@name} with {person}
noho ny orana dia {move} ny {person} = à cause de la pluie, {person} {move@person} = because of the rain, {person} {move@person}
hoy i {name} hoe {quality} ny {good} = {name} dit que {good} {est@good} {quality@good} = {name} says that {good} {is@good} {quality}
telefaonin'i {name} {phone} = le téléphone de~{name} est le {phone} = the phone of {name} is {phone}
{act} {good} {pronoun} {when} = {pronoun}{act@pronoun+good} {when} = {pronoun} {act@pronoun+good} {when}
tsy {act} {good} {pronoun} = {pronoun}{act.not@pronoun+good} = {pronoun} {act.not@pronoun+good}
{move} {pronoun} {when} = {pronoun}{move@pronoun} {when} = {pronoun} {move@pronoun} {when}
tiako ny {good} = j'aime {good} = I like {good}
tsy tiako ny {good} = je n'aime pas {good} = I do not like {good}
{quality} ny {good} = {good} {est@good} {quality@good} = {good} {is@good} {quality}
{quality} ny {spot} = {spot} est {quality@spot} = {spot} is {quality}
aiza i {name}? = où est {name}? = where is {name}?
aiza ny {person}? = où {est@person} {person}? = where {is@person} {person}?
namako i {name} = {name} est mon ami = {name} is my friend
""",
}

WEIGHTS = {"number": 4, "greeting": 3, "market": 5, "place": 5, "time": 4, "life": 6, "phrase": 4}

PHRASES = """
manao ahoana tompoko? = bonjour, comment allez-vous? = good day, how are you?
manao ahoana ianao? = comment allez-vous? = how are you?
manao ahoana daholo = bonjour à tous = hello everyone
manao ahoana ianareo? = comment allez-vous tous? = how are you all?
manao ahoana = bonjour = hello
salama = salut = hi
salama tompoko = bonjour monsieur = hello sir
salama daholo = salut à tous = hi everyone
salama ve ianao? = est-ce que vous allez bien? = are you well?
tsara fa misaotra = bien, merci = fine, thank you
tsara fa misaotra, ary ianao? = bien, merci, et vous? = fine, thank you, and you?
misaotra = merci = thank you
misaotra betsaka = merci beaucoup = thank you very much
misaotra betsaka tompoko = merci beaucoup monsieur = thank you very much sir
misaotra indrindra = merci infiniment = thank you so much
misaotra anao = je vous remercie = I thank you
tsy misy fisaorana = il n'y a pas de quoi = not at all
tsy misy fotony = de rien = you are welcome
veloma = au revoir = goodbye
veloma tompoko = au revoir monsieur = goodbye sir
mandra-pihaona = à bientôt = see you soon
amin'ny manaraka indray = à la prochaine = until next time
rahampitso indray = à demain = see you tomorrow
azafady = excusez-moi = excuse me
azafady tompoko = excusez-moi monsieur = excuse me sir
miala tsiny = je suis désolé = I am sorry
miala tsiny aminareo = je vous demande pardon = I beg your pardon
tonga soa = bienvenue = welcome
tonga soa eto Madagasikara = bienvenue à Madagascar = welcome to Madagascar
eny = oui = yes
eny tompoko = oui monsieur = yes sir
tsia = non = no
tsia tompoko = non monsieur = no sir
eny azafady = oui, s'il vous plaît = yes please
tsia misaotra = non merci = no thank you
angamba = peut-être = maybe
mazava ho azy = bien sûr = of course
tsy maninona = ce n'est pas grave = it does not matter
tsy misy olana = pas de problème = no problem
iza no anaranao? = comment vous appelez-vous? = what is your name?
avy aiza ianao? = d'où venez-vous? = where are you from?
firy taona ianao? = quel âge avez-vous? = how old are you?
aiza ianao no mipetraka? = où habitez-vous? = where do you live?
inona no ataonao? = que faites-vous? = what are you doing?
inona no asanao? = quel est votre métier? = what is your job?
mazotoa homana = bon appétit = enjoy your meal
tratry ny taona = bonne année = happy new year
arahaba tratry ny Noely = joyeux Noël = merry Christmas
arahabaina = félicitations = congratulations
mirary fahasalamana = à votre santé = to your health
soava dia = bon voyage = have a good trip
alina tsara = bonne nuit = good night
tafandria mandry = dormez bien = sleep well
mirary soa = bonne chance = good luck
faly mahafantatra anao = enchanté de vous connaître = pleased to meet you
faly mahita anao aho = je suis content de vous voir = I am glad to see you
inona no vaovao? = quelles sont les nouvelles? = what is new?
tsy misy vaovao = rien de nouveau = nothing new
salama daholo ny fianakaviana = toute la famille va bien = the whole family is well
manao ahoana ny fianakaviana? = comment va la famille? = how is the family?
tsy azoko ny teninao = je ne comprends pas ce que vous dites = I do not understand what you say
tsy azoko = je ne comprends pas = I do not understand
azoko = je comprends = I understand
tsy fantatro = je ne sais pas = I do not know
fantatro = je sais = I know
avereno azafady = répétez s'il vous plaît = please repeat
miteny moramora azafady = parlez lentement s'il vous plaît = speak slowly please
miteny malagasy ve ianao? = parlez-vous malgache? = do you speak Malagasy?
miteny frantsay ve ianao? = parlez-vous français? = do you speak French?
miteny anglisy ve ianao? = parlez-vous anglais? = do you speak English?
mianatra teny malagasy aho = j'apprends le malgache = I am learning Malagasy
tsy mahay miteny malagasy aho = je ne parle pas malgache = I do not speak Malagasy
kely fotsiny = un peu seulement = only a little
inona ity? = qu'est-ce que c'est? = what is this?
inona no dikan'io teny io? = que veut dire ce mot? = what does this word mean?
iza ianao? = qui êtes-vous? = who are you?
nahoana? = pourquoi? = why?
rahoviana? = quand? = when?
aiza? = où? = where?
firy? = combien? = how many?
ohatrinona? = combien ça coûte? = how much does it cost?
ohatrinona ny vidiny? = quel est le prix? = what is the price?
lafo loatra = c'est trop cher = it is too expensive
mora izany = c'est bon marché = that is cheap
azo ahena ve ny vidiny? = peut-on baisser le prix? = can the price be lowered?
omeo ahy azafady = donnez-moi cela s'il vous plaît = give me that please
ampio aho azafady = aidez-moi s'il vous plaît = help me please
vonjeo! = au secours! = help!
antsoy ny dokotera = appelez le docteur = call the doctor
antsoy ny polisy = appelez la police = call the police
marary aho = je suis malade = I am ill
marary ny lohako = j'ai mal à la tête = I have a headache
marary ny kiboko = j'ai mal au ventre = I have a stomach ache
noana aho = j'ai faim = I am hungry
mangetaheta aho = j'ai soif = I am thirsty
reraka aho = je suis fatigué = I am tired
very aho = je suis perdu = I am lost
faly aho = je suis content = I am happy
malahelo aho = je suis triste = I am sad
tiako ianao = je vous aime = I love you
tsara = bien = good
tsara be = très bien = very good
mahafinaritra = c'est agréable = it is pleasant
tena tsara ny andro = il fait très beau = the weather is very good
mafana ny andro = il fait chaud = the weather is hot
mangatsiaka ny andro = il fait froid = the weather is cold
avy ny orana = il pleut = it is raining
amin'ny firy izao? = quelle heure est-il? = what time is it?
androany = aujourd'hui = today
omaly = hier = yesterday
rahampitso = demain = tomorrow
miandrasa kely azafady = attendez un peu s'il vous plaît = wait a little please
mandrosoa = entrez = come in
mipetraha = asseyez-vous = sit down
andao = allons-y = let's go
avia aty = venez ici = come here
mandehana = partez = go away
moramora = doucement = slowly
haingana = vite = quickly
mitandrema = faites attention = be careful
aiza ny trano fidiovana? = où sont les toilettes? = where are the toilets?
aiza ny fiantsonan'ny fiara? = où est l'arrêt de bus? = where is the bus stop?
te hihinana aho = je voudrais manger = I would like to eat
te hisotro rano aho = je voudrais boire de l'eau = I would like to drink water
te hatory aho = je voudrais dormir = I would like to sleep
matsiro ny sakafo = la nourriture est délicieuse = the food is delicious
ny fitiavana no lehibe indrindra = l'amour est le plus grand = love is the greatest
Malagasy aho = je suis malgache = I am Malagasy
Frantsay aho = je suis français = I am French
tiako i Madagasikara = j'aime Madagascar = I love Madagascar
tsara tarehy ianao = vous êtes beau = you are beautiful
manan-janaka ve ianao? = avez-vous des enfants? = do you have children?
manambady ve ianao? = êtes-vous marié? = are you married?
mbola tsy manambady aho = je ne suis pas encore marié = I am not married yet
efa vita = c'est fini = it is finished
mbola tsy vita = ce n'est pas encore fini = it is not finished yet
marina izany = c'est vrai = that is true
diso izany = c'est faux = that is wrong
tsy tiako izany = je n'aime pas cela = I do not like that
tiako izany = j'aime cela = I like that
misy olona eto = il y a quelqu'un ici = there is someone here
tsy misy olona = il n'y a personne = there is nobody
te hianatra teny malagasy aho = je voudrais apprendre le malgache = I would like to learn Malagasy
inona no laharan'ny telefaoninao? = quel est votre numéro de téléphone? = what is your phone number?
antsoy aho = appelez-moi = call me
"""
"""Fixed phrases: always in the training split, in all three languages."""
