import type { Clock, Timer } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import { DatabaseAway } from '../storage/database.ts'
import type { Gateway } from './gateway.ts'

export interface BooksAwayParts {
  readonly clock: Clock
  readonly settings: Pick<Gateway['settings'], 'booksTimeoutMs'>
}

/** Often enough for those who wait, and no burden for a server that is just coming back. */
const againMs = 200

/**
 * What the books say, or the fault `books_away` when they fail or have not answered after `booksTimeoutMs`. Money that cannot be checked is
 * not spent, and a key that cannot be looked up is not called a bad one.
 *
 * Books that are away are asked again until then, so what is asked must bear repeating. Nobody notices a short absence; and a gateway that alone
 * cannot reach the books is slow instead of quick to refuse: whoever balances by how few calls are under way would send it most of them.
 */
export function orBooksAway<Result>(ask: () => Promise<Result>, { clock, settings }: BooksAwayParts): Promise<Result> {
  return new Promise((resolve, reject) => {
    new Patient(ask, { resolve, reject }, clock, settings.booksTimeoutMs).ask()
  })
}

type Told<Result> = { readonly resolve: (result: Result) => void; readonly reject: (fault: Fault) => void }

/** One question to the books, asked until it is answered or its time is over. */
class Patient<Result> {
  readonly #question: () => Promise<Result>
  readonly #told: Told<Result>
  readonly #clock: Clock
  readonly #timeout: Timer
  #again: Timer | undefined
  #cause: unknown
  #isOver = false

  constructor(question: () => Promise<Result>, told: Told<Result>, clock: Clock, ms: number) {
    this.#question = question
    this.#told = told
    this.#clock = clock
    this.#timeout = clock.after(ms, () => this.#giveUp(this.#cause ?? new Error(`no answer in ${ms} ms`)))
  }

  ask(): void {
    this.#question().then(
      result => {
        this.#end()
        this.#told.resolve(result)
      },
      error => this.#failed(error),
    )
  }

  #failed(error: unknown): void {
    if (this.#isOver) return
    this.#cause = error
    if (error instanceof DatabaseAway) this.#again = this.#clock.after(againMs, () => this.ask())
    else this.#giveUp(error)
  }

  #giveUp(cause: unknown): void {
    this.#end()
    this.#told.reject(new Fault('books_away', { cause }))
  }

  #end(): void {
    this.#isOver = true
    this.#timeout[Symbol.dispose]()
    this.#again?.[Symbol.dispose]()
  }
}
