/** Numbers from 0 to below 1, the same ones for the same seed. Mulberry32: small, and good enough to choose what a test does. */
export function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A whole number from the first to the last, both included. */
export function between(chance: () => number, first: number, last: number): number {
  return first + Math.floor(chance() * (last - first + 1))
}

export function oneOf<Choice>(chance: () => number, choices: readonly Choice[]): Choice {
  return choices[Math.floor(chance() * choices.length)]!
}

/**
 * The seeds of a random test: so many from `first` on, or the one that HEADGATE_TEST_SEED names, to see a failure again.
 * Throws a sentence when that is no whole number.
 */
export function seedsFrom(first: number, count: number): readonly number[] {
  const asked = process.env.HEADGATE_TEST_SEED
  if (asked === undefined) return Array.from({ length: count }, (_, index) => first + index)
  if (!/^\d{1,9}$/.test(asked)) throw new Error(`HEADGATE_TEST_SEED is ${JSON.stringify(asked)}: it must be a whole number, such as 7`)
  return [Number(asked)]
}
