/* The event stream of the server, and how it is doing. */

const FIRST_WAIT = 3000;
const LONGEST_WAIT = 60000;

/**
 * Listens to a stream as long as the page is looked at. A connection that breaks goes on where it was; one that is new
 * begins with now, and `onFresh` is called to get what was before. Browsers open few connections to one server, so a
 * page that nobody sees lets go of its own.
 */
export class Stream {
  #source = null;
  #handlers = new Map();
  #wait = FIRST_WAIT;
  #timer = null;

  /** onState is told "connecting", "live", "reconnecting" or "closed". */
  constructor(url, { onState, onFresh }) {
    this.url = url;
    this.onState = onState;
    this.onFresh = onFresh;
    this.whenSeen = () => (document.hidden ? this.#letGo() : this.#source ?? this.#connect());
  }

  on(name, handler) {
    this.#handlers.set(name, handler);
    return this;
  }

  open() {
    document.addEventListener("visibilitychange", this.whenSeen);
    this.#connect();
  }

  close() {
    document.removeEventListener("visibilitychange", this.whenSeen);
    this.#letGo();
    this.onState("closed");
  }

  #connect() {
    this.#letGo();
    this.onState("connecting");
    this.#source = new EventSource(this.url);
    this.#source.onopen = () => {
      this.#wait = FIRST_WAIT;
      this.onState("live");
    };
    this.#source.onerror = () => this.#recover();
    for (const [name, handler] of this.#handlers) {
      this.#source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
    }
    this.onFresh();
  }

  /** The browser tries again by itself, unless the server refused. */
  #recover() {
    this.onState("reconnecting");
    if (this.#source.readyState !== EventSource.CLOSED) return;
    this.#timer = setTimeout(() => this.#connect(), this.#wait);
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT);
  }

  #letGo() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }
}
