/** Keeps the `max` entries that were asked for most recently. */
export interface Lru<Value> {
  get(key: string): Value | undefined
  set(key: string, value: Value): void
  delete(key: string): void
  clear(): void
  readonly size: number
}

export function lru<Value>(max: number): Lru<Value> {
  return new LinkedLru(max)
}

interface Entry<Value> {
  readonly key: string
  value: Value
  older: Entry<Value> | undefined
  newer: Entry<Value> | undefined
}

/**
 * Entries are linked by their age. A Map alone remembers the order of insertion, but to delete and insert an entry at each use
 * costs two more look-ups, and a new table every so often.
 */
class LinkedLru<Value> implements Lru<Value> {
  readonly #max: number
  readonly #entries = new Map<string, Entry<Value>>()
  #newest: Entry<Value> | undefined
  #oldest: Entry<Value> | undefined

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): Value | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#renew(entry)
    return entry.value
  }

  set(key: string, value: Value): void {
    const known = this.#entries.get(key)
    if (known !== undefined) {
      known.value = value
      return this.#renew(known)
    }
    const entry: Entry<Value> = { key, value, older: undefined, newer: undefined }
    this.#entries.set(key, entry)
    this.#putFirst(entry)
    if (this.#entries.size > this.#max) this.delete(this.#oldest!.key)
  }

  delete(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    this.#takeOut(entry)
  }

  clear(): void {
    this.#entries.clear()
    this.#newest = undefined
    this.#oldest = undefined
  }

  #renew(entry: Entry<Value>): void {
    if (entry === this.#newest) return
    this.#takeOut(entry)
    this.#putFirst(entry)
  }

  #putFirst(entry: Entry<Value>): void {
    entry.older = this.#newest
    entry.newer = undefined
    if (this.#newest === undefined) this.#oldest = entry
    else this.#newest.newer = entry
    this.#newest = entry
  }

  #takeOut({ older, newer }: Entry<Value>): void {
    if (older === undefined) this.#oldest = newer
    else older.newer = newer
    if (newer === undefined) this.#newest = older
    else newer.older = older
  }
}
