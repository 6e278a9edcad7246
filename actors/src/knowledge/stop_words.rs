//! Words that say little about what a question is about.
//!
//! They weigh less in a search; leaving them out altogether loses questions that are made of little else.

use super::language::Language;

/// The stop words of `language`, in lower case and with their accents.
pub(super) fn stop_words(language: Language) -> &'static str {
    match language {
        Language::Dutch => DUTCH,
        Language::English => ENGLISH,
        Language::French => FRENCH,
        Language::German => GERMAN,
    }
}

const DUTCH: &str = "\
    de en van ik te dat die in een hij het niet zijn is was op aan met als voor had er maar om hem dan \
    zou of wat mijn men dit zo door over ze zich bij ook tot je mij uit der daar haar naar heb hoe heeft \
    hebben deze u want nog zal me zij nu ge geen omdat iets worden toch al waren veel meer doen toen \
    moet ben zonder kan hun dus alles onder ja eens hier wie werd altijd doch wordt wezen kunnen ons \
    zelf tegen na reeds wil kon niets uw iemand geweest andere";

const ENGLISH: &str = "\
    a about am an and are as at be been being but by can could did do does for from had has have having \
    he her his how i if in into is it just may me might my no not of on or our out s she should so such \
    t than that the their then there these they this to too up us very was we what when where which who \
    whom why will with would you your";

const FRENCH: &str = "\
    au aux avec ce ces dans de des du elle en et eux il je la le leur lui ma mais me même mes moi mon ne \
    nos notre nous on ou par pas pour qu que qui sa se ses sur ta te tes toi ton tu un une vos votre \
    vous c d j l à m n s t y étée étées étant suis es êtes sont serai seras sera serons serez seront \
    serais serait serions seriez seraient étais était étions étiez étaient fus fut fûmes fûtes furent \
    sois soit soyons soyez soient fusse fusses fussions fussiez fussent ayant eu eue eues eus ai avons \
    avez ont aurai aurons aurez auront aurais aurait aurions auriez auraient avais avait aviez avaient \
    eut eûmes eûtes eurent aie aies ait ayons ayez aient eusse eusses eût eussions eussiez eussent ceci \
    cela celà cet cette ici ils les leurs quel quels quelle quelles sans soi";

const GERMAN: &str = "\
    aber alle allem allen aller alles als also am an ander andere anderem anderen anderer anderes anderm \
    andern anderr anders auch auf aus bei bin bis bist da damit dann der den des dem die das daß \
    derselbe derselben denselben desselben demselben dieselbe dieselben dasselbe dazu dein deine deinem \
    deinen deiner deines denn derer dessen dich dir du dies diese diesem diesen dieser dieses doch dort \
    durch ein eine einem einen einer eines einig einige einigem einigen einiger einiges einmal er ihn \
    ihm es etwas euer eure eurem euren eurer eures für gegen gewesen hab habe haben hat hatte hatten \
    hier hin hinter ich mich mir ihr ihre ihrem ihren ihrer ihres euch im in indem ins ist jede jedem \
    jeden jeder jedes jene jenem jenen jener jenes jetzt kann kein keine keinem keinen keiner keines \
    können könnte machen man manche manchem manchen mancher manches mein meine meinem meinen meiner \
    meines mit muss musste nach nicht nichts noch nun nur ob oder ohne sehr sein seine seinem seinen \
    seiner seines selbst sich sie ihnen sind so solche solchem solchen solcher solches soll sollte \
    sondern sonst über um und uns unse unsem unsen unser unses unter viel vom von vor während war waren \
    warst was weg weil weiter welche welchem welchen welcher welches wenn werde werden wie wieder will \
    wir wird wirst wo wollen wollte würde würden zu zum zur zwar zwischen";
