/** Things by their ids, each found by its owner only. The oldest go when there are too many. */
export interface Shelf<Thing> {
  put(owner: string, id: string, thing: Thing): void
  /** undefined for what is unknown, forgotten or somebody else's. */
  find(owner: string, id: string): Thing | undefined
  /** False when there was none. */
  remove(owner: string, id: string): boolean
}

export function openShelf<Thing>(countMax: number): Shelf<Thing> {
  const things = new Map<string, Thing>()
  const nameOf = (owner: string, id: string) => `${owner}\n${id}`
  return {
    put(owner, id, thing) {
      things.set(nameOf(owner, id), thing)
      if (things.size <= countMax) return
      for (const oldest of things.keys()) return void things.delete(oldest)
    },
    find: (owner, id) => things.get(nameOf(owner, id)),
    remove: (owner, id) => things.delete(nameOf(owner, id)),
  }
}
