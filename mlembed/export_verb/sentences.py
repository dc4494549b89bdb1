"""A few sentences in many languages and scripts, for a model whose own data are not at hand."""

from __future__ import annotations

# Each line of a language translates the same line of the others.
SENTENCES: dict[str, tuple[str, ...]] = {
    "en": (
        "The train leaves at seven in the morning.",
        "My sister bought three red apples at the market.",
        "It rained all night, so the road to the village is closed today.",
        "Who wrote this letter?",
    ),
    "de": (
        "Der Zug fährt um sieben Uhr morgens ab.",
        "Meine Schwester hat auf dem Markt drei rote Äpfel gekauft.",
        "Es hat die ganze Nacht geregnet, deshalb ist die Straße ins Dorf heute gesperrt.",
        "Wer hat diesen Brief geschrieben?",
    ),
    "fr": (
        "Le train part à sept heures du matin.",
        "Ma sœur a acheté trois pommes rouges au marché.",
        "Il a plu toute la nuit, la route du village est donc fermée aujourd'hui.",
        "Qui a écrit cette lettre ?",
    ),
    "es": (
        "El tren sale a las siete de la mañana.",
        "Mi hermana compró tres manzanas rojas en el mercado.",
        "Ha llovido toda la noche, así que la carretera al pueblo está cerrada hoy.",
        "¿Quién escribió esta carta?",
    ),
    "it": (
        "Il treno parte alle sette del mattino.",
        "Mia sorella ha comprato tre mele rosse al mercato.",
        "Ha piovuto tutta la notte, quindi oggi la strada per il villaggio è chiusa.",
        "Chi ha scritto questa lettera?",
    ),
    "pl": (
        "Pociąg odjeżdża o siódmej rano.",
        "Moja siostra kupiła na targu trzy czerwone jabłka.",
        "Całą noc padało, więc droga do wsi jest dziś zamknięta.",
        "Kto napisał ten list?",
    ),
    "ru": (
        "Поезд отправляется в семь часов утра.",
        "Моя сестра купила на рынке три красных яблока.",
        "Всю ночь шёл дождь, поэтому дорога в деревню сегодня закрыта.",
        "Кто написал это письмо?",
    ),
    "tr": (
        "Tren sabah yedide kalkıyor.",
        "Kız kardeşim pazardan üç kırmızı elma aldı.",
        "Bütün gece yağmur yağdı, bu yüzden köye giden yol bugün kapalı.",
        "Bu mektubu kim yazdı?",
    ),
    "ar": (
        "يغادر القطار في السابعة صباحا.",
        "اشترت أختي ثلاث تفاحات حمراء من السوق.",
        "هطل المطر طوال الليل، لذلك الطريق إلى القرية مغلق اليوم.",
        "من كتب هذه الرسالة؟",
    ),
    "hi": (
        "ट्रेन सुबह सात बजे चलती है।",
        "मेरी बहन ने बाज़ार से तीन लाल सेब खरीदे।",
        "सारी रात बारिश हुई, इसलिए गाँव का रास्ता आज बंद है।",
        "यह चिट्ठी किसने लिखी?",
    ),
    "zh": (
        "火车早上七点出发。",
        "我姐姐在市场买了三个红苹果。",
        "下了一整夜的雨，所以去村子的路今天封闭了。",
        "这封信是谁写的？",
    ),
    "ja": (
        "電車は朝七時に出発します。",
        "姉は市場で赤いりんごを三つ買いました。",
        "一晩中雨が降ったので、村への道は今日通れません。",
        "この手紙を書いたのは誰ですか。",
    ),
}
