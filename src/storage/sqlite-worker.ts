import { createRequire } from 'node:module'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { type Row, type Step, scriptNumber, type Value, type WorkedOut, workedOutNumber } from './database.ts'
import { exact, firstWords } from './exact.ts'
import { positional } from './placeholders.ts'
import { type Answer, type Command, type Level, type Message, readCommands, readLevel, type SentStep } from './sqlite-wire.ts'

/**
 * SQLite's thread: one connection, which shares every commit among all who wait for one.
 *
 * Whatever arrived during the last batch is the next. A batch is one transaction, so one sync; yet each command in it lands or fails
 * alone. Nobody is answered before the batch has been committed, readers included: they may have seen its writes.
 */
const { path, readOnly } = workerData as { readonly path: string; readonly readOnly: boolean }
const port = parentPort!

const busyTimeoutMs = 1_000
const preparedMax = 1_000
/**
 * Not more: a commit that has split a page in the midst of an index walks all of the cache (SQLite numbers the page beyond the file for a
 * moment, then looks for what is beyond it). What is not in it is read from the system's cache.
 */
const cacheKiB = 8 * 1024
/** Pages that every call changes are then folded into the file once in 64 MB of log; four times as often, a call in a hundred waited twice as long. */
const checkpointPages = 16_000
const walBytesKept = 64 * 1024 * 1024

const database = open()
const beginRead = database.prepare('begin')
const beginWrite = database.prepare('begin immediate')
const commit = database.prepare('commit')
const savepoint = database.prepare('savepoint command')
const undo = database.prepare('rollback to command')
const release = database.prepare('release command')

const texts = new Map<number, string>()
const prepared = new Map<number, Prepared>()
let synchronous: Level = 2

port.on('message', (first: Message | null) => {
  const batch: Command[] = []
  let next: Message | null | undefined = first
  for (; next; next = receiveMessageOnPort(port)?.message) readCommands(next, texts, batch)
  if (batch.length > 0) port.postMessage(answerBatch(batch))
  if (next === null) close()
})

function open(): DatabaseSync {
  const opened = new DatabaseSync(path, { readOnly, timeout: busyTimeoutMs })
  opened.exec(`pragma foreign_keys = on; pragma temp_store = memory; pragma cache_size = -${cacheKiB}`)
  if (readOnly) return opened
  opened.exec('pragma journal_mode = wal; pragma synchronous = full')
  opened.exec(`pragma wal_autocheckpoint = ${checkpointPages}; pragma journal_size_limit = ${walBytesKept}`)
  const { journal_mode } = opened.prepare('pragma journal_mode').get()!
  const level = opened.prepare('pragma synchronous').get()!.synchronous
  if (journal_mode === 'wal' && level === 2) {
    // A file that may only be read is opened all the same, without a word: the first write finds it out. Any write will do.
    opened.exec('begin immediate; pragma user_version = 1; rollback')
    return opened
  }
  opened.close()
  throw new Error(`it must run with journal_mode wal and synchronous 2, but SQLite says ${journal_mode} and ${level}`)
}

function answerBatch(batch: readonly Command[]): Answer[] {
  const level = batch.reduce<Level>((highest, command) => (command.level > highest ? command.level : highest), readLevel)
  try {
    begin(level)
    let outcomes = batch.map(run)
    if (outcomes.some(outcome => outcome.leftTraces)) {
      // Savepoints cost a third of a batch, and hardly ever does a command fail after it has written: only then they are set.
      database.exec('rollback')
      begin(level)
      outcomes = batch.map(runApart)
    }
    commit.run()
    for (const { committed } of outcomes) committed?.()
    return outcomes.map(outcome => outcome.answer)
  } catch (error) {
    if (database.isTransaction) database.exec('rollback')
    // A full disk takes the writes of the whole batch with it, but not the reads: each of them is tried again, alone.
    return batch.map(command => (command.level > readLevel || batch.length === 1 ? away(error) : answerBatch([command])[0]!))
  }
}

/** A commit under synchronous 2 syncs the log to its end, so also what was committed before under 1. */
function begin(level: Level): void {
  if (level === readLevel) return void beginRead.run()
  if (level !== synchronous) database.exec(`pragma synchronous = ${level}`)
  synchronous = level
  beginWrite.run()
}

/** `leftTraces`: the command failed, and its first steps may have written something that is still there. */
interface Outcome {
  readonly answer: Answer
  readonly leftTraces: boolean
  /** Whom to tell when it has been committed. */
  readonly committed?: (() => void) | undefined
}

function runApart(command: Command): Outcome {
  savepoint.run()
  const { answer, leftTraces, committed } = run(command)
  if (leftTraces) undo.run()
  release.run()
  return { answer, leftTraces: false, committed }
}

/** Throws only what the whole batch cannot survive. */
function run({ steps }: Command): Outcome {
  const [first] = steps
  if (first?.number !== workedOutNumber) return runSteps(steps)
  if (steps.length > 1) return { answer: 'what is worked out must be alone in its commit', leftTraces: false }
  let made: WorkedOut
  try {
    made = makerIn(first.sql)(first.values[0] as string)
  } catch (error) {
    return { answer: messageOf(error), leftTraces: false }
  }
  const outcome = runSteps(made.steps.map(sentStep), made.steps.length < manySteps)
  if (outcome.answer === null) return { ...outcome, committed: made.committed }
  if (typeof outcome.answer !== 'number') return outcome
  return { ...outcome, answer: { guard: made.steps[outcome.answer]?.otherwise ?? `step ${outcome.answer}` } }
}

type Maker = (text: string) => WorkedOut

const makers = new Map<string, Maker>()
const load = createRequire(import.meta.url)

/** A module's `stepsIn`, which is loaded when it is first asked for. */
function makerIn(module: string): Maker {
  let maker = makers.get(module)
  if (maker === undefined) {
    maker = (load(fileURLToPath(module)) as { readonly stepsIn: Maker }).stepsIn
    makers.set(module, maker)
  }
  return maker
}

/** Statements have other numbers in this thread than in the gateway's, and must not be taken for those. */
function sentStep({ statement, values, rows }: Step): SentStep {
  return { number: workedOutNumber - 1 - statement.number, sql: statement.sql, values: values as Value[], rows: rows ?? null }
}

/** With so many at once there is much to do, and all that counts is that it gets done. */
const manySteps = 900
const stretchSteps = 50
/** Milliseconds. Any time at all: the system then gives the core to whoever waits for it. */
const restMs = 0.02
const untouched = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))

/** Where there is one core, the gateway's thread shall not wait for it as long as many calls take: a call in a hundred was a millisecond later. */
function rest(): void {
  Atomics.wait(untouched, 0, 0, restMs)
}

/** Up to the first that fails. */
function runSteps(steps: readonly SentStep[], withRests = false): Outcome {
  const returned: Row[][] = []
  for (const step of steps) {
    if (withRests && returned.length % stretchSteps === stretchSteps - 1) rest()
    try {
      const { rows, count } = runStep(step)
      if (step.rows !== null && step.rows !== count) return { answer: returned.length, leftTraces: count > 0 || returned.length > 0 }
      returned.push(rows)
    } catch (error) {
      if (!database.isTransaction || isLost(error)) throw error
      const answer = `${messageOf(error)} (in "${firstWords(step.sql)}")`
      // A statement that fails undoes itself. Only a script may have got half way.
      return { answer, leftTraces: returned.length > 0 || step.number === scriptNumber }
    }
  }
  return { answer: returned.some(rows => rows.length > 0) ? returned : null, leftTraces: false }
}

function runStep({ number, sql, values }: SentStep): { readonly rows: Row[]; readonly count: number } {
  if (number === scriptNumber) {
    database.exec(sql)
    return { rows: [], count: 0 }
  }
  const { statement, order, count, returnsRows } = prepare(number, sql)
  if (values.length !== count) throw new Error(`${count} values wanted, ${values.length} given`)
  const bound = order === undefined ? allExact(values) : order.map(index => exact(values[index]!))
  if (!returnsRows) return { rows: [], count: Number(statement.run(...bound).changes) }
  const rows = statement.all(...bound) as Row[]
  return { rows, count: rows.length }
}

/** In place: nobody else has them. */
function allExact(values: Value[]): Value[] {
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index]!
    if (typeof value === 'number') values[index] = exact(value)
  }
  return values
}

interface Prepared {
  readonly statement: StatementSync
  /** Undefined when it wants each value once, in the order in which they are given. */
  readonly order: readonly number[] | undefined
  readonly count: number
  readonly returnsRows: boolean
}

function prepare(number: number, text: string): Prepared {
  const found = prepared.get(number)
  if (found !== undefined) return found
  if (prepared.size >= preparedMax) prepared.clear()
  const { sql, order, count } = positional(text)
  const statement = database.prepare(sql)
  statement.setReadBigInts(true)
  const isAsGiven = order.length === count && order.every((value, index) => value === index)
  const made = { statement, order: isAsGiven ? undefined : order, count, returnsRows: statement.columns().length > 0 }
  prepared.set(number, made)
  return made
}

/** Primary result codes (sqlite.org/rescode.html) that are the machine's doing, not the statement's: whoever is next would meet them too. */
const lostCodes = new Set([5, 6, 7, 8, 10, 11, 13, 14, 15, 26]) // busy, locked, no memory, read-only, I/O, corrupt, full, cannot open, protocol, not a database

function isLost(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && lostCodes.has(Number(error.errcode) & 0xff)
}

function away(error: unknown): Answer {
  return { away: messageOf(error) }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function close(): void {
  database.close()
  port.close()
}
