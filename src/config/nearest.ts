/** The candidate that was most likely meant by `written`, or undefined when none is near. Capitals, dashes and underlines do not count. */
export function nearest(written: string, candidates: Iterable<string>): string | undefined {
  const wanted = plain(written)
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(wanted.length * farthestShare)) + 1
  for (const candidate of candidates) {
    const name = plain(candidate)
    const isShortened = wanted.length >= shortenedMin && name.startsWith(wanted) && name !== wanted
    const distance = isShortened ? 1 : edits(wanted, name, bestDistance)
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

/** The end of a sentence: "; did you mean x?", or "." when there is nothing near. */
export function didYouMean(written: string, candidates: Iterable<string>, before = ''): string {
  const found = nearest(written, candidates)
  return found === undefined ? '.' : `; did you mean ${before}${found}?`
}

/** Of the letters of a word, those that may be wrong. */
const farthestShare = 0.34
/** A word that a name begins with may be meant for it, when it has as many letters as this. */
const shortenedMin = 4
const lettersMax = 80

function plain(name: string): string {
  return name.replace(/[-_]/g, '').toLowerCase().slice(0, lettersMax)
}

/** Letters to add, remove, change or swap with their neighbour (optimal string alignment); `enough` when at least that many. */
function edits(from: string, to: string, enough: number): number {
  if (Math.abs(from.length - to.length) >= enough) return enough
  let before: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row++) {
    const now = [row]
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1]
      let cost = Math.min(last[column]! + 1, now[column - 1]! + 1, last[column - 1]! + (same ? 0 : 1))
      const swapped = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      if (swapped) cost = Math.min(cost, before[column - 2]! + 1)
      now.push(cost)
    }
    before = last
    last = now
  }
  return last[to.length]!
}
