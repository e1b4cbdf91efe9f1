/**
 * Which readings of a stream do not mean what their numbers look like, and why: the rule and the words of
 * neuroone/contract/doubt.py. A test holds both to tests/golden/doubt.json.
 */

/** No number has changed for so long: the app repeats its last values. */
const FROZEN_AFTER_MS = 10_000;
/** The longest honest run of equal readings that was seen. */
const SAME_HONEST_MAX = 4;
/** The production phone app cuts band powers off here. */
const CLIPPED_AT = 99;
const BANDS = ["delta", "theta", "low_alpha", "high_alpha", "low_beta", "high_beta", "low_gamma", "mid_gamma"];
const VALUES = ["attention", "meditation", ...BANDS];

/** The doubts; of several the first one is told. */
export const DOUBTS = ["poor_contact", "zeros", "no_bands", "frozen", "clipped", "no_quality"];

/** Whether attention and meditation mean nothing. */
export function touchesESense(doubt) {
  return doubt !== null && doubt !== "clipped" && doubt !== "no_quality";
}

/** Whether the band powers mean nothing. */
export function touchesBands(doubt) {
  return doubt !== null && doubt !== "no_quality";
}

/** The `word` beside a doubtful value, and the `sentence` that says why and what to do. */
export function wordsOf(doubt, language) {
  return TEXTS[language.startsWith("pt") ? "pt-BR" : "en"][doubt];
}

/** The doubts of one stream, whose readings are added in their order. */
export class Doubts {
  /** How many readings up to the newest have the same ten numbers. If the newest is frozen, all of them are. */
  same = 0;
  #values = null;
  #since_ms = 0;
  #time_ms = 0;
  #clips = false;

  /** The doubt of the next reading: one of `DOUBTS`, or null. */
  add(reading) {
    const time_ms = Date.parse(reading.time);
    const values = VALUES.map((name) => reading[name]);
    const before = this.#values;
    if (before === null || time_ms < this.#time_ms || values.some((value, at) => value !== before[at])) {
      this.same = 0; // also after a clock was set back
      this.#since_ms = time_ms;
    }
    this.same += 1;
    this.#values = values;
    this.#time_ms = time_ms;
    const bands = values.slice(2);
    const highest = Math.max(...bands);
    this.#clips ||= highest === CLIPPED_AT && bands.every((band) => band === 0 || band === CLIPPED_AT);
    if (reading.poor_signal) return "poor_contact";
    if (!highest) return values.some(Boolean) ? "no_bands" : "zeros";
    if (this.same > SAME_HONEST_MAX && time_ms - this.#since_ms >= FROZEN_AFTER_MS) return "frozen";
    if (this.#clips && highest === CLIPPED_AT) return "clipped"; // also where a few bands are lower
    return (reading.poor_signal ?? null) === null ? "no_quality" : null;
  }
}

/* The words of neuroone/contract/doubt.py; a test holds them equal. */
const TEXTS = {
  en: {
    poor_contact: {
      word: "poor contact",
      sentence: "The headset reports poor contact: attention and meditation keep their last values, and the bands "
        + "are noise. Adjust the sensor.",
    },
    zeros: {
      word: "only zeros",
      sentence: "The app sends only zeros: it has no data yet. Is the headset switched on and connected?",
    },
    no_bands: {
      word: "no bands",
      sentence: "All bands are 0, but attention or meditation is not: the app has never decoded a row of bands, and "
        + "the other numbers are chance.",
    },
    frozen: {
      word: "frozen",
      sentence: "No number has changed for 10 s: the app repeats its last values. Is the headset switched on, near "
        + "and connected?",
    },
    clipped: {
      word: "clipped bands",
      sentence: "All bands are cut off at 99, so that their shares mean nothing. Attention and meditation are not "
        + "affected.",
    },
    no_quality: {
      word: "quality unknown",
      sentence: "The app does not send the signal quality: nobody can tell how good the contact is.",
    },
  },
  "pt-BR": {
    poor_contact: {
      word: "mau contato",
      sentence: "O headset informa mau contato: atenção e meditação ficam no último valor e as bandas são ruído. "
        + "Ajuste o sensor.",
    },
    zeros: {
      word: "só zeros",
      sentence: "O app envia só zeros: ainda não tem dados. O headset está ligado e conectado?",
    },
    no_bands: {
      word: "sem bandas",
      sentence: "Todas as bandas são 0, mas a atenção ou a meditação não: o app nunca decodificou uma linha de "
        + "bandas, e os outros números são acaso.",
    },
    frozen: {
      word: "congelado",
      sentence: "Nenhum número mudou por 10 s: o app repete os últimos valores. O headset está ligado, por perto e "
        + "conectado?",
    },
    clipped: {
      word: "bandas cortadas",
      sentence: "Todas as bandas estão cortadas em 99, e suas proporções não significam nada. Atenção e meditação "
        + "não são afetadas.",
    },
    no_quality: {
      word: "qualidade desconhecida",
      sentence: "O app não envia a qualidade do sinal: não dá para saber se o contato é bom.",
    },
  },
};
