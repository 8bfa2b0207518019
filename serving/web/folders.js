// Files that were chosen or dropped, also in folders.

export const MAX_FILES = 20_000;
const MAX_DEPTH = 32;
const LEFT_BY_SYSTEMS = /(^|\/)(\.[^/]*|__MACOSX|@eaDir|Thumbs\.db|desktop\.ini|DICOMDIR)(\/|$)/i;

const byName = new Intl.Collator("en", { numeric: true }).compare;

/** A list of files that does not grow without end; `more`: there were more. */
class Found {
  constructor() {
    Object.assign(this, { files: [], leftOut: 0, unread: 0, more: false });
  }

  get full() {
    this.more ||= this.files.length >= MAX_FILES;
    return this.more;
  }

  /** Adds a file of a folder. */
  add(file, name) {
    if (LEFT_BY_SYSTEMS.test(name)) this.leftOut += 1;
    else this.take(file, name);
  }

  /** Adds a file that was chosen by itself. */
  take(file, name) {
    if (!this.full) this.files.push({ file, name });
  }
}

/** Returns files that a field for files or for a folder holds, with their paths. */
export function chosen(files) {
  const found = new Found();
  for (const file of files) {
    if (file.webkitRelativePath) found.add(file, file.webkitRelativePath);
    else found.take(file, file.name);
  }
  return sorted(found);
}

/** Puts the files of folders in order, which browsers do not. */
function sorted(found) {
  if (found.files.some(({ name }) => name.includes("/"))) {
    found.files.sort((one, two) => byName(one.name, two.name));
  }
  return found;
}

/** Returns what was dropped; folders are read whole. To be called while the event lasts. */
export function dropped(transfer) {
  const entries = [...transfer.items]
    .filter(({ kind }) => kind === "file")
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile())
    .filter(Boolean);
  return gather(entries);
}

async function gather(entries) {
  const found = new Found();
  for (const entry of entries) {
    if (entry instanceof File) found.take(entry, entry.name);
    else if (entry.isFile) await addFile(entry, entry.name, found, "take");
    else await addFolder(entry, found, 1);
  }
  return sorted(found);
}

async function addFolder(entry, found, depth) {
  const reader = entry.createReader();
  while (!found.full && depth <= MAX_DEPTH) {
    const some = await promised((done, failed) => reader.readEntries(done, failed));
    if (!some) found.unread += 1;
    if (!some?.length) return;
    for (const inner of some) {
      const name = inner.fullPath.replace(/^\//, "");
      if (inner.isFile) await addFile(inner, name, found);
      else if (LEFT_BY_SYSTEMS.test(name)) found.leftOut += 1;
      else await addFolder(inner, found, depth + 1);
    }
  }
}

async function addFile(entry, name, found, how = "add") {
  if (found.full) return;
  const file = await promised((done, failed) => entry.file(done, failed));
  if (file) found[how](file, name);
  else found.unread += 1;
}

/** Returns null where the browser cannot read it. */
function promised(ask) {
  return new Promise((resolve) => ask(resolve, () => resolve(null)));
}
