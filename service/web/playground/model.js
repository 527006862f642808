// The model card of the service, asked for until it is there.

import { byId, setText } from "./elements.js";
import { modelCard } from "./service.js";
import { pause } from "./patience.js";

const AGAIN_S = 1.5;
const WORDS = { loading: "the model is being loaded", lost: "the service does not answer", failed: "the service could not start" };

const providerName = (provider) => provider.replace(/ExecutionProvider$/, "");

export class Model extends EventTarget {
  card = null;
  #asking = false;

  get labels() {
    return this.card?.labels ?? [];
  }

  titleOf(key) {
    return this.labels.find((label) => label.key === key)?.title ?? key;
  }

  // What it runs on: "int8 on CPU".
  get execution() {
    return this.card ? `${this.card.precision} on ${providerName(this.card.provider)}` : "";
  }

  get about() {
    if (!this.card) return {};
    const { name, version, precision, provider, labels } = this.card;
    return { model: { name, version }, precision, provider, thresholds: Object.fromEntries(labels.map(({ key, threshold }) => [key, threshold])) };
  }

  // An answer of another model than the card's: the service was started anew.
  check(answer) {
    const { card } = this;
    if (card && (card.name !== answer.model.name || card.version !== answer.model.version)) this.load();
  }

  async load() {
    if (this.#asking) return;
    this.#asking = true;
    for (let card = null; !card; ) {
      card = await modelCard().catch((error) => this.#showProblem(error));
      if (!card) await pause(AGAIN_S);
      else this.card = card;
    }
    this.#asking = false;
    this.#show();
    this.dispatchEvent(new Event("loaded"));
  }

  #show() {
    const { name, version, fallback_reason: reason } = this.card;
    byId("model").dataset.state = "ready";
    byId("model").title = reason ? `CUDA is not used: ${reason}` : "";
    setText(byId("model-text"), `${name} ${version} · ${this.execution}`);
  }

  #showProblem({ problem }) {
    const state = { connection_lost: "lost", startup_failed: "failed" }[problem?.code] ?? "loading";
    byId("model").dataset.state = state === "loading" ? "loading" : "failed";
    setText(byId("model-text"), WORDS[state]);
    return null;
  }
}
