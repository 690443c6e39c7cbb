import { type Committed, DatabaseAway, type Statement } from './database.ts'
import { exact, firstWords } from './exact.ts'
import { positional } from './placeholders.ts'
import { type PostgresOptions, placeOf } from './postgres-connect.ts'
import { type Asked, type Desk, openDesk } from './postgres-desk.ts'
import { hasScript } from './postgres-script.ts'
import type { Command } from './postgres-session.ts'

/**
 * Those who ask, and the connections that serve them: whoever is free takes all that stand in line, as one batch. Under load
 * batches grow, so that each command costs less; alone, it waits for nobody.
 */
export interface PostgresLine {
  /** Rejects with `DatabaseAway`, or with the engine's refusal of this command. */
  ask(command: Command): Promise<Committed>
  /** Refuses at once what is asked from now on, and answers what was asked before. */
  close(): Promise<void>
}

/** So that the first of a batch does not wait long for the last. */
const batchMax = 100

export function openPostgresLine(options: PostgresOptions): PostgresLine {
  const idle: Desk[] = Array.from({ length: options.connections }, () => openDesk(options))
  const desks = [...idle]
  const line: Asked[] = []
  let isCalling = false
  let closed: PromiseWithResolvers<void> | undefined

  function ask(command: Command): Promise<Committed> {
    if (closed !== undefined) return Promise.reject(new DatabaseAway(`The database ${placeOf(options.url)} is closed.`))
    const problem = problemOf(command)
    if (problem !== undefined) return Promise.reject(problem)
    return new Promise((resolve, reject) => {
      line.push({ command, resolve, reject, tries: 0 })
      // What is asked in one turn of the event loop travels together.
      if (!isCalling) setImmediate(callNext)
      isCalling = true
    })
  }

  function callNext(): void {
    isCalling = false
    while (line.length > 0 && idle.length > 0) void serveAt(idle.shift()!)
    if (line.length === 0 && idle.length === desks.length) closed?.resolve()
  }

  async function serveAt(desk: Desk): Promise<void> {
    await desk.serve(takeBatch(line))
    // The one that served last serves next: its connection is warm, and one that is not needed is not opened.
    idle.unshift(desk)
    callNext()
  }

  async function close(): Promise<void> {
    if (closed === undefined) {
      closed = Promise.withResolvers()
      if (!isCalling) callNext()
    }
    await closed.promise
    await Promise.all(desks.map(desk => desk.end()))
  }

  return { ask, close }
}

/** A script travels alone, because `pg` sends it in another way. */
function takeBatch(line: Asked[]): Asked[] {
  const firstScript = line.findIndex(({ command }) => hasScript(command.steps))
  const most = firstScript === -1 ? batchMax : Math.min(batchMax, firstScript)
  return line.splice(0, Math.max(1, most))
}

/** What would be wrong whatever the server says, and would only spoil the batch. */
function problemOf({ steps }: Command): Error | undefined {
  for (const { statement, values } of steps) {
    try {
      const count = wantedBy(statement)
      if (values.length !== count) throw new Error(`${count} values wanted, ${values.length} given`)
      for (const value of values) inRange(exact(value))
    } catch (error) {
      return new Error(`${(error as Error).message} (in "${firstWords(statement.sql)}")`)
    }
  }
  return undefined
}

/** Reading a text takes longer than all else that is done with it here. */
const wanted = new WeakMap<Statement, number>()

function wantedBy(statement: Statement): number {
  let count = wanted.get(statement)
  if (count === undefined) {
    count = positional(statement.sql).count
    wanted.set(statement, count)
  }
  return count
}

function inRange(value: ReturnType<typeof exact>): void {
  if (typeof value === 'bigint' && BigInt.asIntN(64, value) !== value) throw new Error('a bigint is beyond 64 bits')
}
