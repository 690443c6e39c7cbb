import { Fault } from '../lib/fault.ts'
import type { Gateway } from './gateway.ts'

/**
 * What the books say, or the fault `books_away` when they fail or do not answer in time. Money that cannot be checked is not
 * spent, and a key that cannot be looked up is not called a bad one.
 */
export function orBooksAway<Result>(asked: Promise<Result>, { clock, settings }: Pick<Gateway, 'clock' | 'settings'>): Promise<Result> {
  return new Promise((resolve, reject) => {
    const away = (cause: unknown) => reject(new Fault('books_away', { cause }))
    const timer = clock.after(settings.booksTimeoutMs, () => away(new Error(`no answer in ${settings.booksTimeoutMs} ms`)))
    asked.then(
      result => {
        timer[Symbol.dispose]()
        resolve(result)
      },
      error => {
        timer[Symbol.dispose]()
        away(error)
      },
    )
  })
}
