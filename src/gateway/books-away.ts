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
    let cause: unknown = new Error(`no answer in ${settings.booksTimeoutMs} ms`)
    let isOver = false
    let again: Timer | undefined
    const end = () => {
      isOver = true
      timeout[Symbol.dispose]()
      again?.[Symbol.dispose]()
    }
    const giveUp = () => {
      end()
      reject(new Fault('books_away', { cause }))
    }
    const timeout = clock.after(settings.booksTimeoutMs, giveUp)
    const answered = (result: Result) => {
      end()
      resolve(result)
    }
    const failed = (error: unknown) => {
      if (isOver) return
      cause = error
      if (error instanceof DatabaseAway) again = clock.after(againMs, attempt)
      else giveUp()
    }
    const attempt = () => void ask().then(answered, failed)
    attempt()
  })
}
