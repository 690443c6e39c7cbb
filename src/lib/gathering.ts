/**
 * What is asked for at the same time travels together: to wake a thread and to sync cost more than most of what is asked, and whatever does the same
 * for many at once does it faster. So as long as each turn of the event loop brings more, those that came wait for the next one. One that comes
 * alone, when those before came alone, goes at the end of its turn.
 */
export class Gathering {
  readonly #count: () => number
  readonly #send: () => void
  #isWaiting = false
  /** So many had come when it was last looked whether there are more. */
  #seen = 0
  /** When the first of them came, in milliseconds. */
  #sinceMs = 0
  /** How many went the last time. */
  #lastCount = 0

  /** `count` says how many wait; `send` takes them all. */
  constructor(count: () => number, send: () => void) {
    this.#count = count
    this.#send = send
  }

  /** To be called for each that comes, and for those that came while others were under way. */
  soon(): void {
    if (this.#isWaiting) return
    this.#isWaiting = true
    this.#seen = 0
    this.#sinceMs = performance.now()
    setImmediate(look, this)
  }

  /** The same; but one that may come alone goes now, so that what is still to be done in this turn is done meanwhile. */
  now(): void {
    if (this.#isWaiting || this.#lastCount >= fewCame) return this.soon()
    this.#lastCount = this.#count()
    this.#send()
  }

  look(): void {
    const count = this.#count()
    const isAlone = count === 1 && this.#lastCount < fewCame
    if (count === this.#seen || isAlone || performance.now() - this.#sinceMs >= gatherMsMax) {
      this.#isWaiting = false
      this.#lastCount = count
      this.#send()
    } else {
      this.#seen = count
      setImmediate(look, this)
    }
  }
}

/** Nobody waits longer for the company of others. */
const gatherMsMax = 10
/** After so many, one that is alone is not for long. */
const fewCame = 4

function look(gathering: Gathering): void {
  gathering.look()
}
