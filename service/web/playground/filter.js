// The language of the filter, compiled to a function of a frame.
//
//   either     = both { "or" both }
//   both       = term { "and" term }
//   term       = "not" term | "(" either ")" | label [ comparison probability ] | "problem"
//
// A label without a comparison means that it was found: at or above its threshold. A frame without an answer is neither
// above nor below anything: like an unknown entry, it is not shown, unless the rest of the expression decides (Kleene).

const COMPARISONS = {
  ">=": (a, b) => a >= b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  "<": (a, b) => a < b,
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
};
const SYNONYMS = { "≥": ">=", "≤": "<=", "==": "=", "≠": "!=", "&&": "and", "||": "or", "!": "not" };
const KEYWORDS = ["and", "or", "not"];
const PROBLEM = "problem";
const TOKEN = /\s*(?:(?<sign>&&|\|\||>=|<=|==|!=|[≥≤≠><=!()])|"(?<quoted>[^"]*)"|(?<word>[^\s"&|≥≤≠><=!()]+)|(?<other>\S))/gu;
const NUMBER = /^(?:\d+(?:[.,]\d*)?|[.,]\d+)$/;

export class FilterError extends Error {
  // `start` and `end` say which characters of the expression are meant.
  constructor(message, start, end) {
    super(message);
    Object.assign(this, { start, end });
  }
}

// labels: [{key, title}]. Returns frame => true, false or null (unknown). An empty expression is true of every frame.
export function compileFilter(text, labels) {
  const tokens = tokenize(text);
  return tokens.length === 1 ? () => true : new Parser(tokens, labels).whole();
}

const sameName = (text) => text.toLowerCase().replaceAll(/[\s_]+/g, " ").trim();

function tokenize(text) {
  const tokens = [];
  for (const match of text.trimEnd().matchAll(TOKEN)) {
    const { sign, quoted, word, other } = match.groups;
    const end = match.index + match[0].length;
    const start = end - match[0].trimStart().length;
    if (other) throw new FilterError(other === '"' ? "The quotation mark is not closed." : `${other} means nothing here.`, start, end);
    const type = sign ? "sign" : quoted !== undefined ? "quoted" : "word";
    tokens.push(token(type, sign ?? quoted ?? word, start, end));
  }
  const { length } = text.trimEnd();
  return [...tokens, token("end", "", length, length)];
}

function token(type, text, start, end) {
  const meant = type === "quoted" ? text : SYNONYMS[text] ?? text;
  const isKeyword = type !== "quoted" && KEYWORDS.includes(meant.toLowerCase());
  return { type: isKeyword ? "keyword" : type, text: isKeyword ? meant.toLowerCase() : meant, start, end };
}

class Parser {
  constructor(tokens, labels) {
    this.tokens = tokens;
    this.labels = labels;
    this.position = 0;
  }

  get next() {
    return this.tokens[this.position];
  }

  takes(text) {
    const found = this.next.type !== "quoted" && this.next.type !== "end" && this.next.text === text;
    if (found) this.position += 1;
    return found;
  }

  whole() {
    const test = this.either();
    if (this.next.text === ")") throw this.unexpected("There is no ( for this ).");
    if (this.next.type !== "end") throw this.unexpected(`${this.next.text} cannot stand here; join comparisons by and, or.`);
    return test;
  }

  either() {
    const tests = [this.both()];
    while (this.takes("or")) tests.push(this.both());
    return tests.length === 1 ? tests[0] : (frame) => decided(tests, frame, true);
  }

  both() {
    const tests = [this.term()];
    while (this.takes("and")) tests.push(this.term());
    return tests.length === 1 ? tests[0] : (frame) => decided(tests, frame, false);
  }

  term() {
    if (this.takes("not")) return negated(this.term());
    if (this.next.text === "(" && this.next.type === "sign") return this.group();
    return this.comparison();
  }

  group() {
    const open = this.next;
    this.position += 1;
    const test = this.either();
    if (!this.takes(")")) throw new FilterError("The ( is not closed.", open.start, open.end);
    return test;
  }

  comparison() {
    const name = this.name();
    const label = this.labels.find(({ key, title }) => [key, title].some((each) => sameName(each) === sameName(name.text)));
    if (!label && name.text.toLowerCase() === PROBLEM) return (frame) => Boolean(frame.problem);
    if (!label) throw this.noLabel(name);
    const compare = COMPARISONS[this.next.type === "sign" ? this.next.text : ""];
    if (!compare) return ({ answer }) => answer ? answer.labels.includes(label.key) : null;
    this.position += 1;
    const probability = this.probability();
    return ({ answer }) => answer && label.key in answer.probabilities ? compare(answer.probabilities[label.key], probability) : null;
  }

  // One quoted name, or words up to what is no word.
  name() {
    const first = this.next;
    if (first.type !== "word" && first.type !== "quoted") throw this.unexpected(`A label is missing here${this.known()}`);
    const words = [first];
    this.position += 1;
    while (first.type === "word" && this.next.type === "word") {
      words.push(this.next);
      this.position += 1;
    }
    return { text: words.map(({ text }) => text).join(" "), start: first.start, end: words.at(-1).end };
  }

  probability() {
    const given = this.next;
    const percent = given.text.endsWith("%");
    const digits = percent ? given.text.slice(0, -1) : given.text;
    if (given.type !== "word" || !NUMBER.test(digits)) throw this.unexpected("A probability is missing here, such as 0.5 or 50%.");
    this.position += 1;
    const separate = !percent && this.takes("%");
    const value = Number(digits.replace(",", ".")) / (percent || separate ? 100 : 1);
    if (value > 1) throw new FilterError(`${given.text} is no probability; those go from 0 to 1, or to 100%.`, given.start, given.end);
    return value;
  }

  unexpected(message) {
    const { start, end } = this.next;
    return new FilterError(message, start, end);
  }

  noLabel({ text, start, end }) {
    return new FilterError(`There is no label ${text}${this.known()}`, start, end);
  }

  known() {
    return this.labels.length ? `; there are ${this.labels.map(({ title }) => title).join(", ")}.` : ".";
  }
}

const negated = (test) => (frame) => {
  const result = test(frame);
  return result === null ? null : !result;
};

// Three-valued "or" (deciding: true) and "and" (deciding: false).
function decided(tests, frame, deciding) {
  const results = tests.map((test) => test(frame));
  if (results.includes(deciding)) return deciding;
  return results.includes(null) ? null : !deciding;
}
