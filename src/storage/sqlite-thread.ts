import type { Worker } from 'node:worker_threads'
import { Gathering } from '../lib/gathering.ts'
import { type Committed, DatabaseAway, type Step } from './database.ts'
import { type Answer, type Level, type Message, writeCommand } from './sqlite-wire.ts'

/** SQLite's thread, as the gateway's thread sees it. It keeps the program alive only while something is asked of it. */
export interface SqliteThread {
  /** Rejects with `DatabaseAway`, or with the engine's refusal of this command. */
  ask(level: Level, steps: readonly Step[]): Promise<Committed>
  /** Refuses at once what is asked from now on, answers what was asked before, and ends once `first` has come to pass. */
  close(first?: Promise<void>): Promise<void>
}

/** Starts a worker when the first command comes. Should that end unasked, the next command starts another. */
export function sqliteThread(path: string, start: () => Worker): SqliteThread {
  let life: Life | undefined
  let closed: Promise<void> | undefined

  function ask(level: Level, steps: readonly Step[]): Promise<Committed> {
    if (closed !== undefined) return Promise.reject(new DatabaseAway(`The database ${path} is closed.`))
    return new Promise((resolve, reject) => {
      life ??= begin()
      send(life, level, { steps, resolve, reject })
    })
  }

  function begin(): Life {
    const begun = liveWith(start(), path)
    begun.worker.once('exit', () => {
      life = undefined
    })
    return begun
  }

  async function end(first?: Promise<void>): Promise<void> {
    if (life !== undefined) life.closing = true
    life?.worker.ref()
    await first
    if (life === undefined) return
    const ended = Promise.withResolvers<void>()
    life.worker.once('exit', ended.resolve)
    post(life)
    life.worker.postMessage(null)
    await ended.promise
  }

  return { ask, close: first => (closed ??= end(first)) }
}

/** One worker, what it has been sent, and who waits for an answer, in the order of asking. */
interface Life {
  readonly worker: Worker
  /** Statements whose text it has. */
  readonly known: Set<number>
  /** Commands that are to travel together: of this turn of the event loop, and those that came while others were under way. */
  outbox: Message
  readonly asked: Asked[]
  /** Commands that it has and did not answer yet. */
  underWay: number
  readonly gathering: Gathering
  /** The program waits for the file to be closed, also when nothing is asked any more. */
  closing: boolean
}

interface Asked {
  readonly steps: readonly Step[]
  readonly resolve: (committed: Committed) => void
  readonly reject: (error: Error) => void
}

function liveWith(worker: Worker, path: string): Life {
  const life: Life = {
    worker,
    known: new Set(),
    outbox: [],
    asked: [],
    underWay: 0,
    gathering: new Gathering(
      () => life.asked.length,
      () => post(life),
    ),
    closing: false,
  }
  let reason = 'its thread ended'
  worker.on('message', (answers: readonly Answer[]) => {
    const answered = life.asked.splice(0, answers.length)
    life.underWay -= answers.length
    if (life.asked.length === 0 && !life.closing) worker.unref()
    for (const [index, { steps, resolve, reject }] of answered.entries()) {
      const answer = committed(answers[index]!, steps, path)
      if (answer instanceof Error) reject(answer)
      else resolve(answer)
    }
    if (life.outbox.length > 0) life.gathering.soon()
  })
  worker.on('error', error => {
    reason = error instanceof Error ? error.message : String(error)
  })
  worker.once('exit', () => {
    for (const { reject } of life.asked.splice(0)) reject(new DatabaseAway(`The database ${path} is away: ${reason}`))
  })
  return life
}

function send(life: Life, level: Level, asked: Asked): void {
  if (life.asked.length === 0) life.worker.ref()
  life.asked.push(asked)
  writeCommand(life.outbox, level, asked.steps, life.known)
  // While the thread is at work nothing is sent: all of it shares the next commit.
  if (life.underWay === 0) life.gathering.soon()
}

function post(life: Life): void {
  if (life.outbox.length === 0) return
  life.underWay = life.asked.length
  life.worker.postMessage(life.outbox)
  life.outbox = []
}

function committed(answer: Answer, steps: readonly Step[], path: string): Committed | Error {
  if (answer === null) return { done: true, rows: steps.map(() => []) }
  if (typeof answer === 'number') return { done: false, guard: steps[answer]?.otherwise ?? `step ${answer}` }
  if (typeof answer === 'string') return new Error(answer)
  if ('guard' in answer) return { done: false, guard: answer.guard }
  return 'away' in answer ? new DatabaseAway(`The database ${path} is away: ${answer.away}`) : { done: true, rows: answer }
}
