// What the pages do with JavaScript: search, jump to a day, and move with the keyboard. The pages are opened from a
// folder, where a browser refuses to fetch files, so data are scripts that call `stride.put`.
"use strict";

(() => {
  const root = document.documentElement.dataset.root;
  const values = new Map();
  const loads = new Map();
  window.stride = { put: (name, value) => values.set(name, value), termsOf };

  function load(name) {
    if (!loads.has(name)) {
      loads.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `${root}${name}.js`;
        script.onload = () => (values.has(name) ? resolve(values.get(name)) : reject(new Error(name)));
        script.onerror = () => reject(new Error(name));
        document.head.append(script);
      }));
    }
    return loads.get(name);
  }

  // ---- Words, by the rules of `_words.py`

  const LONGEST_WORD = 32;
  const UNSPACED =
    "\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff\\u3040-\\u30ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff" +
    "\\u{20000}-\\u{3ffff}";
  const IS_UNSPACED = new RegExp(`^[${UNSPACED}]`, "u");
  const SCRIPTS = new RegExp(`[${UNSPACED}]+|[^${UNSPACED}]+`, "gu");

  const plain = (text) => text.normalize("NFKD").replace(/\p{M}+/gu, "").toLowerCase().replaceAll("ς", "σ");

  // The terms of a query. A term that ends in * finds all words that begin with it, if it has three letters or more.
  function termsOf(query) {
    const terms = new Map();
    for (const [, run, star] of plain(query).matchAll(/([\p{L}\p{N}]+)(\*?)/gu)) {
      for (const part of run.match(SCRIPTS)) {
        const letters = [...part];
        if (!IS_UNSPACED.test(part)) {
          const word = letters.slice(0, LONGEST_WORD).join("");
          terms.set(word + star, { word, isPrefix: star !== "" && letters.length >= 3 });
        } else if (letters.length === 1) {
          terms.set(part, { word: part, isPrefix: false });
        } else {
          for (let at = 0; at + 1 < letters.length; at++) {
            const word = letters[at] + letters[at + 1];
            terms.set(word, { word, isPrefix: false });
          }
        }
      }
    }
    return [...terms.values()];
  }

  // ---- The index, as `_search.py` describes it

  const TEXTS_PER_FILE = 200;
  const SEGMENT = 256 * TEXTS_PER_FILE;
  const DIGITS = new Map([..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"].map((c, n) => [c, n]));

  function numbersIn(text) {
    const numbers = [];
    let total = 0, shift = 0, value = 0;
    for (const digit of text) {
      const code = DIGITS.get(digit);
      value += (code & 31) << shift;
      shift += 5;
      if (code < 32) {
        total += value;
        numbers.push(total);
        value = shift = 0;
      }
    }
    return numbers;
  }

  // Words are sorted by code points, and strings of JavaScript by UTF-16 units.
  function compare(one, other) {
    const a = [...one], b = [...other];
    for (let at = 0; at < a.length && at < b.length; at++) {
      const difference = a[at].codePointAt(0) - b[at].codePointAt(0);
      if (difference) return difference;
    }
    return a.length - b.length;
  }

  // The position of the last entry that is not above a value; -1 if there is none.
  function lastUpTo(entries, isUpTo) {
    let low = 0, high = entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isUpTo(entries[middle])) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  async function postings(head, segment, { word, isPrefix }) {
    const firsts = head.segments[segment];
    let file = lastUpTo(firsts, (first) => compare(first, word) <= 0);
    if (!isPrefix && file < 0) return [];
    const found = [];
    for (file = Math.max(file, 0); file < firsts.length; file++) {
      const lines = `\n${await load(`search/w/${segment}-${file}`)}\n`;
      const wanted = isPrefix ? `\n${word}` : `\n${word} `;
      for (let at = lines.indexOf(wanted); at >= 0; at = lines.indexOf(wanted, at + 1)) {
        found.push(numbersIn(lines.slice(lines.indexOf(" ", at) + 1, lines.indexOf("\n", at + 1))));
        if (!isPrefix) return found[0];
      }
      const next = firsts[file + 1];
      if (!isPrefix || next === undefined || !(next.startsWith(word) || compare(next, word) < 0)) break;
    }
    if (found.length < 2) return found[0] || [];
    return [...new Set(found.flat())].sort((a, b) => a - b);
  }

  // The numbers of the messages with all terms, newest first.
  async function* matching(terms) {
    const head = await load("search/index");
    for (let segment = head.segments.length - 1; segment >= 0; segment--) {
      let common = null;
      for (const term of terms) {
        const numbers = await postings(head, segment, term);
        const known = common && new Set(common);
        common = known ? numbers.filter((number) => known.has(number)) : numbers;
        if (!common.length) break;
      }
      for (const number of common.reverse()) yield segment * SEGMENT + number;
    }
  }

  // The messages from the beginning of a day on, oldest first, with their days since the epoch.
  async function* sinceDay(day) {
    const head = await load("search/index");
    const days = numbersIn(head.days);
    const first = Math.max(0, lastUpTo(days, (one) => one < day));
    for (let number = first * TEXTS_PER_FILE; number < head.messages; number++) {
      if (Math.floor((await message(number)).minute / 1440) >= day) yield number;
    }
  }

  async function message(number) {
    const { pages, people, rows } = await load(`search/t/${Math.floor(number / TEXTS_PER_FILE)}`);
    const [page, person, minute, anchor, excerpt] = rows[number % TEXTS_PER_FILE];
    const [path, conversation] = pages[page];
    return { path, conversation, person: people[person], minute, anchor, excerpt };
  }

  // ---- Results

  const RESULTS_AT_ONCE = 20;
  const byId = (id) => document.getElementById(id);
  const dayNumber = (day) => Math.floor(Date.parse(`${day}T00:00:00Z`) / 86400000);
  const longDay = (number) =>
    new Date(number * 86400000).toLocaleDateString("en-GB", { dateStyle: "long", timeZone: "UTC" });

  function element(name, className, text) {
    const made = document.createElement(name);
    made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // The excerpt, with the words of the query marked.
  function marked(excerpt, terms) {
    const said = element("span", "said");
    said.dir = "auto";
    for (const part of excerpt.split(/([\p{L}\p{N}\p{M}]+)/u)) {
      const word = plain(part);
      const pieces = new Set([...word].flatMap((letter, at, all) => [letter, letter + (all[at + 1] || "")]));
      const isMarked = word && terms.some((term) =>
        term.isPrefix ? word.startsWith(term.word)
          : word === term.word || (IS_UNSPACED.test(term.word) && pieces.has(term.word)));
      said.append(isMarked ? element("mark", "", part) : part);
    }
    return said;
  }

  function result(found, terms) {
    const link = element("a", "result");
    link.href = `${root}${found.path}.html#${encodeURIComponent(found.anchor)}`;
    const where = element("span", "where");
    const time = element("time", "");
    if (found.minute) {
      const iso = new Date(found.minute * 60000).toISOString();
      time.dateTime = `${iso.slice(0, 16)}Z`;
      time.textContent = `${longDay(Math.floor(found.minute / 1440))}, ${iso.slice(11, 16)}`;
    }
    where.append(element("bdi", "person", found.person), element("bdi", "", found.conversation), time);
    link.append(where, marked(found.excerpt, terms));
    return link;
  }

  let shown = 0; // counts what is asked for, so that an older search stops when a new one begins

  async function show(numbers, terms, until, says) {
    const turn = ++shown;
    const [results, status, more] = [byId("results"), byId("status"), byId("more")];
    results.replaceChildren();
    byId("conversations").hidden = true;
    [results.hidden, byId("answer").hidden, more.hidden] = [false, false, true];
    status.textContent = "Searching…";
    let count = 0, limit = RESULTS_AT_ONCE;
    const batch = document.createDocumentFragment();
    const finish = (isAll, next) => {
      results.append(batch);
      status.textContent = says(count, isAll, next);
      more.hidden = isAll;
    };
    for await (const number of numbers) {
      const found = await message(number);
      if (turn !== shown) return;
      if (until(found)) return finish(true, found);
      if (count === limit) {
        const last = results.lastElementChild;
        finish(false);
        if (last && last.nextElementSibling) last.nextElementSibling.focus();
        await new Promise((resolve) => { more.onclick = resolve; });
        if (turn !== shown) return;
        limit += RESULTS_AT_ONCE;
      }
      batch.append(result(found, terms));
      count++;
    }
    if (turn === shown) finish(true);
  }

  const counted = (count) => (count === 1 ? "1 message" : `${count.toLocaleString("en")} messages`);

  function search(query) {
    for (const input of document.querySelectorAll("[data-search] input")) input.value = query;
    const terms = termsOf(query);
    return show(terms.length ? matching(terms) : [], terms, () => false, (count, isAll) => {
      if (!terms.length) return "Type one or more words. A word that ends in * finds all words that begin with it.";
      if (!count) return `No message contains ${terms.length > 1 ? "all of these words" : "this word"}.`;
      return isAll ? `${counted(count)}, newest first` : `The newest ${counted(count)}; there are more`;
    });
  }

  function showDay(day) {
    const wanted = dayNumber(day);
    return show(sinceDay(wanted), [], (found) => Math.floor(found.minute / 1440) > wanted, (count, isAll, next) => {
      if (count) return `${longDay(wanted)}: ${isAll ? "" : "the first "}${counted(count)}`;
      const later = next ? ` The next ones are of ${longDay(Math.floor(next.minute / 1440))}.` : "";
      return `There are no messages of ${longDay(wanted)}.${later}`;
    });
  }

  function route() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const failed = () => {
      byId("status").textContent = "The search does not work: a file of its index is missing.";
    };
    if (asked.get("q")) search(asked.get("q")).catch(failed);
    else if (/^\d{4}-\d\d-\d\d$/.test(asked.get("day"))) showDay(asked.get("day")).catch(failed);
    else {
      shown++;
      for (const id of ["results", "answer", "more"]) byId(id).hidden = true;
      byId("conversations").hidden = false;
    }
  }

  // ---- Days of one conversation

  // Each page of a conversation with its first day: the wanted day is on the last page that does not begin after it.
  async function goToDay(folder, day) {
    const pages = await load(`${folder}days`);
    const page = pages[Math.max(0, lastUpTo(pages, ([, first]) => first <= day))];
    location.href = `${root}${folder}${page[0]}.html#d-${day}`;
    nearestDay();
  }

  // A day without messages has no heading: the next one is shown.
  function nearestDay() {
    const wanted = location.hash.slice(1);
    if (!wanted.startsWith("d-") || byId(wanted)) return;
    const marks = [...document.querySelectorAll(".daymark")];
    const mark = marks.find((one) => one.id > wanted) || marks.at(-1);
    if (mark) mark.scrollIntoView();
  }

  // ---- Wiring

  for (const form of document.querySelectorAll("[data-search]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const hash = `#q=${encodeURIComponent(form.elements.q.value.trim())}`;
      if (byId("results")) location.hash = hash;
      else location.href = `${root}index.html${hash}`;
    });
  }
  for (const form of document.querySelectorAll("[data-day]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const day = form.elements.day.value;
      if (form.dataset.day) goToDay(form.dataset.day, day);
      else location.hash = `#day=${day}`;
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    if (event.key === "/") {
      event.preventDefault();
      document.querySelector("[data-search] input").focus();
    } else if (event.key === "j" || event.key === "k") {
      const stops = [...document.querySelectorAll(".message, .result")];
      const top = stops.findIndex((one) => one.getBoundingClientRect().bottom > 72);
      const at = stops.indexOf(document.activeElement.closest(".message, .result"));
      const next = at < 0 ? top : at + (event.key === "j" ? 1 : -1);
      if (stops[next]) stops[next].focus();
    }
  });
  if (byId("results")) {
    addEventListener("hashchange", route);
    route();
  } else {
    addEventListener("hashchange", nearestDay);
    nearestDay();
  }
})();
