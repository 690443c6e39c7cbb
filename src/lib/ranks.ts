/** A set of whole numbers from 0 to below `size`, counted and picked from by rank in O(log size): a Fenwick tree. */
export class Ranks {
  readonly size: number
  readonly #has: Uint8Array
  /** From 1 on: each holds how many there are in the range that ends with it, as long as its lowest bit says. */
  readonly #sums: Int32Array
  readonly #firstStep: number

  constructor(size: number) {
    this.size = size
    this.#has = new Uint8Array(size)
    this.#sums = new Int32Array(size + 1)
    this.#firstStep = size === 0 ? 0 : 2 ** Math.floor(Math.log2(size))
  }

  has(number: number): boolean {
    return this.#has[number] === 1
  }

  set(number: number, isIn: boolean): void {
    if (this.has(number) === isIn) return
    this.#has[number] = isIn ? 1 : 0
    for (let at = number + 1; at <= this.size; at += at & -at) this.#sums[at]! += isIn ? 1 : -1
  }

  /** How many there are below this number. */
  below(number: number): number {
    let count = 0
    for (let at = number; at > 0; at -= at & -at) count += this.#sums[at]!
    return count
  }

  /** The one that has so many below it; `size` or more when there is none. */
  at(rank: number): number {
    let found = 0
    let left = rank
    for (let step = this.#firstStep; step > 0; step >>= 1) {
      const next = found + step
      if (next > this.size || this.#sums[next]! > left) continue
      found = next
      left -= this.#sums[next]!
    }
    return found
  }
}
