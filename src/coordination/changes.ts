/** So many changes are remembered. Whoever is further behind looks at everything anew, which is then no more work. */
const rememberedMax = 4096

/** Whose condition changed, in order, so that whoever keeps something made of conditions need not look at all of them. */
export class Changes {
  readonly #ids: string[] = []
  #count = 0

  /** How many there were since the beginning. */
  get count(): number {
    return this.#count
  }

  note(accountId: string): void {
    this.#ids[this.#count % rememberedMax] = accountId
    this.#count += 1
  }

  /** The accounts of all changes after the first `count`, each as often as it changed; undefined when that is too long ago. */
  since(count: number): readonly string[] | undefined {
    const behind = this.#count - count
    if (behind > rememberedMax) return undefined
    const ids: string[] = []
    for (let at = count; at < this.#count; at += 1) ids.push(this.#ids[at % rememberedMax]!)
    return ids
  }
}
