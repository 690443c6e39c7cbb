import type { Adapters } from '../../src/headgate.ts'
import { type Committed, type Database, DatabaseAway, type Step, workedOutNumber } from '../../src/storage/database.ts'

/** Books and a journal that do as the test says with the ends of calls; everything else they do as ever. */
export interface ControlledBooks {
  readonly adapters: Adapters
  /**
   * `well`, or `away`: commits fail and nothing happens. `slow`: commits wait for `letGo`. `lost`: they take effect, and the
   * reply is lost.
   */
  books: 'well' | 'away' | 'slow' | 'lost'
  journal: 'well' | 'refuses'
  /** How many commits wait. */
  readonly waiting: number
  /** Lets those that wait go on, and those to come. */
  letGo(): void
}

export function controlledBooks(): ControlledBooks {
  const waiting: (() => void)[] = []
  const controlled: ControlledBooks = {
    books: 'well',
    journal: 'well',
    get waiting() {
      return waiting.length
    },
    letGo() {
      controlled.books = 'well'
      for (const go of waiting.splice(0)) go()
    },
    adapters: {
      wrapDatabase: database => ({ ...database, commit: (...asked) => commit(database, asked), read: (...asked) => read(database, asked) }),
      wrapJournal: journal => ({
        ...journal,
        get size() {
          return journal.size
        },
        add: charge => (controlled.journal === 'well' ? journal.add(charge) : Promise.reject(new Error('no space left on the device'))),
        [Symbol.asyncDispose]: () => journal[Symbol.asyncDispose](),
      }),
    },
  }

  async function commit(database: Database, asked: Parameters<Database['commit']>): Promise<Committed> {
    if (!endsCall(asked[0])) return database.commit(...asked)
    if (controlled.books === 'slow') await new Promise<void>(resolve => waiting.push(resolve))
    if (controlled.books === 'away') throw new DatabaseAway('the books are away, as planned')
    const committed = await database.commit(...asked)
    if (controlled.books === 'lost') throw new DatabaseAway('the reply is lost, as planned')
    return committed
  }

  async function read(database: Database, asked: Parameters<Database['read']>): ReturnType<Database['read']> {
    if (controlled.books === 'away') throw new DatabaseAway('the books are away, as planned')
    return database.read(...asked)
  }

  return controlled
}

function endsCall(steps: readonly Step[]): boolean {
  return steps.some(
    ({ statement }) =>
      statement.number === workedOutNumber ||
      /^update holds set state = (?!'expired')|^insert into holds[\s\S]*'settled'/.test(statement.sql),
  )
}
