/* The end of a session's log: it follows, pauses, filters by level, and searches on the server. */

import { getPage } from "./api.js";

const PAGE = 200;
const MOST_LINES = 2000; // on the page; the newest stay
const TYPING_PAUSE = 300;
const CATCH_UP_PAUSE = 1000;
const AT_THE_END = 24; // pixels that count as the end
const LOUD = { WARNING: "log-warning", ERROR: "log-error", CRITICAL: "log-error" };

export class LogTail {
  #shown = new Map(); // elements by line
  #waiting = []; // entries that came while it was paused, MOST_LINES of them or a few more
  #isFollowing = true;
  #question = 0; // counts, so that the answer to an older one is left aside
  #typing = null;
  #catchingUp = null;

  constructor(root, url) {
    this.url = url;
    this.list = root.querySelector(".log-lines");
    this.filters = root.querySelector("form");
    this.follow = root.querySelector("[name=follow]");
    this.older = root.querySelector("[name=older]");
    this.note = root.querySelector("[role=status]");
    this.filters.addEventListener("submit", (event) => event.preventDefault());
    this.filters.addEventListener("input", () => this.#loadSoon());
    this.follow.addEventListener("click", () => this.#setFollowing(!this.#isFollowing));
    this.older.addEventListener("click", () => this.loadOlder());
    this.list.addEventListener("scroll", () => this.#noticeScroll());
  }

  /** The query for entries: this is the one place that knows how the server is asked. */
  query(place = {}) {
    const { level, search, regex } = this.filters.elements;
    const query = new URLSearchParams({ limit: PAGE, ...place });
    if (level.value) query.set("level", level.value);
    if (search.value) query.set(regex.checked ? "regex" : "search", search.value);
    return `${this.url}?${query}`;
  }

  get #isFiltered() {
    const { level, search } = this.filters.elements;
    return Boolean(level.value || search.value);
  }

  /** Show the newest entries in place of what is shown. */
  async load() {
    this.#shown.clear();
    this.#waiting = [];
    this.list.replaceChildren();
    this.older.hidden = true;
    this.#setFollowing(true);
    const isAll = await this.#ask({}, (entries) => this.#receive(entries));
    if (isAll === undefined) return;
    this.older.hidden = isAll;
    if (this.#isFiltered && !this.#shown.size) this.#say("No entry is like that.");
  }

  /** Get what came behind a line: what the stream brought since may have left out what was before. */
  async catchUp(line = this.newest) {
    if (line === undefined) await this.load();
    else await this.#ask({ after: line }, (entries) => this.#receive(entries), Infinity);
  }

  async loadOlder() {
    this.#setFollowing(false);
    const isAll = await this.#ask({ before: Math.min(...this.#shown.keys()) }, (entries) => {
      const { scrollHeight } = this.list;
      this.#insert(entries);
      this.list.scrollTop += this.list.scrollHeight - scrollHeight; // what was read stays where it is
    });
    if (isAll !== undefined) this.older.hidden = isAll;
  }

  /** An entry of the stream. What is filtered is left to the server, which alone knows what a search means. */
  add(entry) {
    if (this.#isFiltered) this.#catchUpSoon();
    else this.#receive([entry]);
  }

  /** When nothing has been typed for a moment. */
  #loadSoon() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.load(), TYPING_PAUSE);
  }

  /** Once for all entries that come until then. */
  #catchUpSoon() {
    this.#catchingUp ??= setTimeout(() => {
      this.#catchingUp = null;
      this.catchUp();
    }, CATCH_UP_PAUSE);
  }

  /** The last line that is known; undefined while none is. */
  get newest() {
    const lines = [...this.#shown.keys(), ...this.#waiting.map(({ line }) => line)];
    return lines.length ? lines.reduce((one, other) => Math.max(one, other)) : undefined;
  }

  /**
   * Ask the server, which looks through a long log for a moment at a time, until `wanted` entries are found. Whether
   * there are no more is what comes back; undefined if something else was asked meanwhile, or the server refused.
   */
  async #ask(place, use, wanted = PAGE) {
    const number = ++this.#question;
    try {
      let url = this.query(place);
      for (let found = 0; url && found < wanted; ) {
        const { entries, next } = await getPage(url);
        if (number !== this.#question) return undefined;
        use(entries);
        found += entries.length;
        url = next;
        this.#say(url && found < wanted ? "Searching…" : "");
      }
      return !url;
    } catch (refusal) {
      if (number === this.#question) this.#say(refusal.message, true);
      return undefined;
    }
  }

  #receive(entries) {
    if (this.#isFollowing) this.#insert(entries);
    else if (this.#waiting.length < MOST_LINES) this.#waiting.push(...entries);
    this.#showState();
  }

  #setFollowing(isWanted) {
    if (isWanted && this.#waiting.length >= MOST_LINES) return void this.load(); // not all that came is there
    this.#isFollowing = isWanted;
    if (isWanted) this.#insert(this.#waiting.splice(0));
    this.#showState();
  }

  #showState() {
    const count = this.#waiting.length;
    const news = count ? ` (${count} new)` : "";
    this.follow.textContent = this.#isFollowing ? "Pause the log" : `Follow the log${news}`;
    if (this.#isFollowing) this.list.scrollTop = this.list.scrollHeight;
  }

  /** Whoever scrolls up wants to read. */
  #noticeScroll() {
    const { scrollHeight, scrollTop, clientHeight } = this.list;
    const isAtTheEnd = scrollHeight - scrollTop - clientHeight < AT_THE_END;
    if (!isAtTheEnd && this.#isFollowing) this.#setFollowing(false);
  }

  /** Put entries to their places, each line once. */
  #insert(entries) {
    for (const entry of entries) {
      if (this.#shown.has(entry.line)) continue;
      const element = render(entry);
      this.list.insertBefore(element, this.#following(entry.line));
      this.#shown.set(entry.line, element);
    }
    while (this.#shown.size > MOST_LINES && this.#isFollowing) {
      const first = this.list.firstElementChild;
      this.#shown.delete(Number(first.dataset.line));
      first.remove();
      this.older.hidden = false;
    }
  }

  /** The element before which a line belongs: nearly always it is the last one. */
  #following(line) {
    const last = this.list.lastElementChild;
    if (!last || Number(last.dataset.line) < line) return null;
    return [...this.list.children].find((element) => Number(element.dataset.line) > line);
  }

  #say(text, isProblem = false) {
    this.note.textContent = text;
    this.note.classList.toggle("log-error", isProblem);
  }
}

function render({ line, timestamp, level, message }) {
  const element = document.createElement("div");
  element.className = `log-line ${LOUD[level] ?? ""}`;
  element.dataset.line = line;
  const time = document.createElement("time");
  time.dateTime = timestamp;
  time.textContent = new Date(timestamp).toLocaleTimeString([], { hour12: false });
  time.title = new Date(timestamp).toLocaleString();
  const label = document.createElement("span");
  label.className = "log-level";
  label.textContent = level;
  const text = document.createElement("span");
  text.className = "log-message";
  text.textContent = message;
  element.append(time, label, text);
  return element;
}
