"""Sentences rich in phones for natural synthetic voices, in nine languages.

Content words come from Debian's word lists, or from the lists below where Debian has none; half of them hold a /p b m/.
The split function divides them, so that a sentence of the held-out side has words that no sentence of the training side has.
Small words of grammar are on both sides. Nothing is quoted from anywhere.
"""

import random
from functools import cache

from compress.speech.split import Side, split
from recipes.build.voices import DICTIONARIES, read_words

# Language of espeak-ng → Debian's word list, if there is one.
LANGUAGES: dict[str, str | None] = {
    "en-us": "american-english",
    "en-gb": "american-english",
    "es": "spanish",
    "fr-fr": "french",
    "hi": None,
    "it": "italian",
    "ja": None,
    "pt-br": "portuguese",
    "cmn-latn-pinyin": None,
}
_SMALL = {
    "en": "the my your his her our this that a with by from for in on above behind and but so or is was may must will can",
    "es": "el la un una mi tu su con por para de en sobre y pero o es era puede muy este esa",
    "fr": "le la un une mon ta son avec par pour de dans sur et mais ou est peut très ce cette",
    "hi": "मेरा मेरी यह वह और या पर में से का की के है था बहुत भी तो",
    "it": "il la un una mio tua suo con per di in su e ma o è era può molto questo quella",
    "ja": "この その わたし の は が を に で と も から まで とても",
    "pt": "o a um uma meu tua seu com por para de em sobre e mas ou é era pode muito este essa",
    "cm": "wo3 ni3 ta1 de5 zhe4 na4 zai4 he2 hen3 dou1 ye3 bu4 shi4 you3 gen1",
}
_WORDS = {
    "hi": "भाई माँ पिता बहन पपीता आम पानी बाज़ार किताब मकान पेड़ फूल बारिश सुबह शाम दोपहर कमरा खिड़की बिल्ली बंदर मछली पक्षी "
    "पहाड़ नदी समुद्र मौसम बादल चम्मच प्याला रोटी सब्ज़ी मिठाई दुकान सड़क पुल गाड़ी घोड़ा मोर चाँद तारा रंग नीला पीला काला "
    "सफ़ेद बड़ा छोटा लंबा पुराना मीठा गरम ठंडा खरीदता देखता सुनता पढ़ता लिखता बोलता भागता खेलता बनाता भूलता समझता पकाता पहनता "
    "मदद प्रेम विश्वास भोजन विद्यालय अध्यापक वैज्ञानिक किसान डॉक्टर बच्चा परिवार त्योहार भविष्य",
    "ja": "ぼく はは ちち あめ ゆき かぜ そら うみ やま かわ もり まち みせ えき みち はし ほん ほし つき はな さくら まど "
    "いぬ ねこ さかな とり うま ぱん ごはん みず おちゃ りんご みかん ぶどう ばなな たまご やさい にわとり びょういん がっこう せんせい "
    "ともだち かぞく おとうと いもうと ばしょ ぼうし めがね ふね ひこうき でんわ かばん えんぴつ ぺん ぶんか おんがく しんぶん ばんごはん "
    "たべました のみました みました ききました よみました かきました あそびました はしりました べんきょうしました おおきい ちいさい あかい "
    "あおい きれい あまい さむい あたたかい べんり ゆうめい",
    "cm": "peng2you3 ping2guo3 mian4bao1 ma1ma5 ba4ba5 mei4mei5 bing1xiang1 pi2bao1 mao4zi5 bei1zi5 pan2zi5 bei3jing1 shan4hai3 "
    "fei1ji1 huo3che1 gong1gong4 mei3li4 bo1li5 pu2tao2 mi4feng1 bao3bei4 ming2tian1 zuo2tian1 xue2xiao4 lao3shi1 yi1sheng1 "
    "mai3 mai4 mang2 bang1zhu4 bian4hua4 biao3yan3 pao3bu4 pa2shan1 fang2jian1 fan4guan3 men2kou3 mu4tou5 shu1ben3 bi3sai4 "
    "dian4ying3 yin1yue4 tian1qi4 xia4yu3 gua1feng1 hua1yuan2 niao3 yu2 gou3 mao1 ma3 niu2 shui3 cha2 ka1fei1 niu2nai3 ji1dan4 "
    "mi3fan4 shu1cai4 xi1gua1 he1 chi1 kan4 ting1 shuo1 xie3 zou3 lai2 qu4 xiang3 ai4 xi3huan1 da4 xiao3 gao1 kuai4 man4 hong2 lan2 bai2",
}
_LABIAL = tuple("pbm") + tuple("पबमभफ") + tuple("ばびぶべぼぱぴぷぺぽまみむめも")


@cache
def _content(language: str, side: Side) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Content words of one side: those with a /p b m/, and all."""
    word_list = LANGUAGES[language]
    if word_list is None:
        words = _WORDS[language[:2]].split()
    else:
        lines = read_words(DICTIONARIES / word_list).split("\n")
        words = [w for w in lines if 3 <= len(w) <= 12 and w.isalpha() and w.islower()]
    chosen = tuple(w for w in dict.fromkeys(words) if split(w) == side)
    return tuple(w for w in chosen if any(letter in w for letter in _LABIAL)), chosen


def sentence(rng: random.Random, language: str, side: Side) -> str:
    """A sentence of 4 to 12 words, with a comma in one of two and now and then a question mark."""
    labial, every = _content(language, side)
    small = _SMALL[language[:2]].split()
    words: list[str] = []
    for i in range(rng.randint(3, 7)):
        if i == 0 or rng.random() < 0.6:
            words.append(rng.choice(small))
        words.append(rng.choice(labial if rng.random() < 0.5 else every))
    if rng.random() < 0.5:
        words[rng.randint(1, len(words) - 2)] += ","
    return " ".join(words) + ("?" if rng.random() < 0.12 else ".")
