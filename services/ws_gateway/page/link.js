/** The link to the gateway: what it says, and the marks that wait for its ack. */
import { write } from "./badges.js";
import { NeuroOneDashboard, newId } from "./neuroone.js";
import { toast } from "./say.js";
import { gatewayUrl, token } from "./token.js";
import { t } from "./words.js";

/** A marker that the broker has not taken by then is reported. */
const ACK_WITHIN_MS = 5000;
/** Why the gateway refuses what a teacher does. */
const REFUSALS = ["not_a_teacher", "too_fast", "no_lesson", "not_waiting", "too_many_removed"];

const at = (id) => document.getElementById(id);

export class GatewayLink {
  up = false;
  broker = false;
  recorder = false;
  /** Shards of students whose recorder is away while others are there. */
  missing = [];
  #code;
  #take;
  #dashboard = null;
  #markers = new Map();

  /** `take` has a function for each type of frame, and `up`, `down` and `refused` for what becomes of the link. */
  constructor(code, take) {
    this.#code = code;
    this.#take = take;
  }

  connect() {
    this.#dashboard?.stop();
    const mine = new NeuroOneDashboard(gatewayUrl(), { token: token(), code: this.#code });
    this.#dashboard = mine;
    const hear = (type, take) => mine.addEventListener(type, ({ detail }) => mine === this.#dashboard && take(detail));
    for (const type of ["reading", "state", "recorded", "event", "lesson", "waiting", "raw"]) hear(type, this.#take[type]);
    hear("ack", ({ marker }) => this.#onAck(marker));
    hear("link", ({ broker, recorder, missing = [] }) => {
      Object.assign(this, { broker, recorder, missing });
      this.show();
    });
    hear("error", ({ code, message }) => {
      if (code === "no_token") {
        mine.stop(); // until somebody enters another one
        this.#take.refused();
      } else if (REFUSALS.includes(code)) {
        for (const timer of this.#markers.values()) clearTimeout(timer);
        this.#markers.clear();
        toast(t(`refused.${code}`));
      } else {
        toast(message);
      }
    });
    hear("welcome", () => {
      this.up = true;
      this.show();
      this.#take.up();
    });
    hear("close", () => {
      const was = this.up;
      this.up = false;
      this.show();
      if (was) this.#take.down();
    });
    mine.start();
  }

  /** Say in a banner what is wrong with the link. */
  show() {
    document.body.dataset.link = this.up ? "up" : "down";
    const fault = at("token-dialog").open ? null : !this.up ? "link.down" : this.broker ? null : "link.no_broker";
    at("banner").hidden = fault === null;
    write(at("banner"), fault === null ? "" : t(fault));
  }

  write(message) {
    return this.#dashboard.write(message);
  }

  /** Send a mark, or the start or end of a lesson, to each of these classes; a code of undefined: to everybody. */
  mark(event, text, codes) {
    for (const code of codes) {
      const id = newId();
      if (!this.#dashboard.mark({ id, event, text, code })) {
        toast(t("marker.unsent"));
        return;
      }
      this.#markers.set(id, setTimeout(() => {
        this.#markers.delete(id);
        toast(t("marker.unconfirmed"));
      }, ACK_WITHIN_MS));
    }
  }

  #onAck(id) {
    if (!this.#markers.has(id)) return;
    clearTimeout(this.#markers.get(id));
    this.#markers.delete(id);
    if (this.#markers.size === 0) toast(t("marker.done"));
  }
}
