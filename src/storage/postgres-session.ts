import type { Client, Submittable } from 'pg'
import type { Row, Statement, Step, Value } from './database.ts'
import { type Complaint, complaintOf } from './postgres-fault.ts'
import { guarded } from './postgres-guard.ts'
import { Messages } from './postgres-messages.ts'
import { type Column, rowOf, typesOf } from './postgres-values.ts'

/**
 * What one connection has been told, and how a batch of commands travels over it.
 *
 * A batch is one journey: every message of every command, and one `sync` at the end. Yet each command is a transaction of its own, so
 * it lands or fails alone, and holds its locks for no longer than it runs. None of them waits for the disk, because the last
 * transaction of the batch does: PostgreSQL's log is written in order, so what is synced last has synced all before it.
 */
export interface Session {
  /** Runs commands in order until one fails. Nothing is on the disk before it has run all of them. */
  run(commands: readonly Command[], isSynced: boolean): Promise<Ran>
  /** What was prepared before is prepared anew. */
  forget(): void
}

export interface Command {
  readonly steps: readonly Step[]
  /** Reads are no transaction. */
  readonly isWrite: boolean
}

export interface Ran {
  /** Of the commands that ran, in order: what each step returned. */
  readonly answers: readonly (readonly Row[][])[]
  /** Why the next command failed, or when all ran, why they cannot be on the disk. */
  readonly complaint?: Complaint
  /** The step at which it did; undefined when it was the transaction itself. */
  readonly failed?: Step | undefined
}

export interface SessionOptions {
  /** The server's own `synchronous_commit`, for the last transaction of a batch. */
  readonly synchronousCommit: string
  /** Something came from the server. */
  readonly onWord: () => void
}

/** So many texts a connection remembers. What comes later is parsed each time. */
const preparedMax = 1_000

export function openSession(client: Client, { synchronousCommit, onWord }: SessionOptions): Session {
  const known: Known = { texts: new Map(), life: 0 }
  const messages = new Messages()
  let current: Journey | undefined
  // Told to nobody else: `pg` reckons that a query prepares one statement.
  client.connection.on('parseComplete', () => current?.parsed())
  return {
    run(commands, isSynced) {
      return new Promise(resolve => {
        const sends = [...commands.flatMap(sendsOf), ...(isSynced ? [{ ...sync, values: [synchronousCommit] }] : [])]
        const ended = (ran: Ran) => {
          current = undefined
          resolve(ran)
        }
        current = journey({ client, known, messages, sends, onWord, ended })
        client.query(current)
      })
    },
    forget() {
      known.texts.clear()
      known.life += 1
    },
  }
}

/** A statement as this connection knows it. */
interface Prepared {
  readonly name: string
  columns: readonly Column[]
  isParsed: boolean
}

interface Known {
  readonly texts: Map<string, Prepared>
  /** Goes up when all is forgotten here, so that names which the server may still know are not used again. */
  life: number
}

/** What the server is told of a statement, and what it is remembered by. */
interface Text {
  readonly key: string
  readonly sql: string
}

/** One statement of a batch, and whose it is. */
interface Send {
  readonly text: Text
  readonly values: readonly Value[]
  readonly step?: Step
  /** The last of its command. */
  readonly isLast: boolean
}

const begin = plain('begin', 'begin')
const commit = plain('commit', 'commit')
const rollback = plain('rollback', 'rollback')
/** Writes a few bytes of its own into the log, because a transaction that writes nothing waits for nothing. */
const sync = plain(
  'sync',
  `select pg_logical_emit_message(true, 'headgate', '') as at, set_config('synchronous_commit', $1, true) as level`,
)

/** No step of anybody's. */
function plain(key: string, sql: string): Send {
  return { text: { key, sql }, values: [], isLast: false }
}

function sendsOf({ steps, isWrite }: Command): readonly Send[] {
  const last = isWrite ? -1 : steps.length - 1
  const sends = steps.map((step, index): Send => ({ text: textOf(step), values: step.values, step, isLast: index === last }))
  return isWrite ? [begin, ...sends, { ...commit, isLast: true }] : sends
}

/** Putting a guard around a text takes as long as sending it. */
const texts = new WeakMap<Statement, Map<number | undefined, Text>>()

function textOf({ statement, rows }: Step): Text {
  let ofStatement = texts.get(statement)
  if (ofStatement === undefined) {
    ofStatement = new Map()
    texts.set(statement, ofStatement)
  }
  let text = ofStatement.get(rows)
  if (text === undefined) {
    const { number, sql } = statement
    text = rows === undefined ? { key: `s${number}`, sql } : { key: `s${number}_${rows}`, sql: guarded(sql, rows) }
    ofStatement.set(rows, text)
  }
  return text
}

interface Trip {
  readonly client: Client
  readonly known: Known
  readonly messages: Messages
  readonly sends: readonly Send[]
  readonly onWord: () => void
  readonly ended: (ran: Ran) => void
}

/** What `pg` asks of a query, which it tells in order of everything that comes for it. */
interface Journey extends Submittable {
  parsed(): void
  handleRowDescription(message: { fields: readonly Column[] }): void
  handleDataRow(message: { fields: readonly (string | null)[] }): void
  handleCommandComplete(): void
  handleReadyForQuery(): void
  handleError(error: Error): void
}

function journey({ client, known, messages, sends, onWord, ended }: Trip): Journey {
  const answers: Row[][][] = []
  const waited: { readonly send: Send; readonly prepared: Prepared }[] = []
  let at = 0
  let rows: Row[] = []
  let returned: Row[][] = []

  function complete(): void {
    onWord()
    const { step, isLast } = waited[at++]!.send
    if (step !== undefined) returned.push(rows)
    rows = []
    if (!isLast) return
    answers.push(returned)
    returned = []
  }

  return {
    submit({ stream }) {
      const isBroken = client.getTransactionStatus() === 'E'
      // Whatever was written before is with the server: it has answered.
      messages.clear()
      for (const send of isBroken ? [rollback, ...sends] : sends) waited.push({ send, prepared: write(messages, known, send) })
      messages.sync()
      stream.write(messages.bytes)
    },
    parsed() {
      waited[at]!.prepared.isParsed = true
    },
    handleRowDescription({ fields }) {
      waited[at]!.prepared.columns = fields
    },
    handleDataRow({ fields }) {
      rows.push(rowOf(waited[at]!.prepared.columns, fields))
    },
    handleCommandComplete: complete,
    handleReadyForQuery: () => ended({ answers }),
    handleError(error) {
      // The server has skipped all that came behind, the texts to remember included.
      for (const { send, prepared } of waited) if (!prepared.isParsed) known.texts.delete(send.text.key)
      ended({ answers, complaint: complaintOf(error), failed: waited[at]?.send.step })
    },
  }
}

/** Two or, for a text that this connection does not know yet, four messages. */
function write(messages: Messages, known: Known, { text: { key, sql }, values }: Send): Prepared {
  let prepared = known.texts.get(key)
  if (prepared === undefined) {
    const isKept = known.texts.size < preparedMax
    prepared = { name: isKept ? `${known.life}.${key}` : '', columns: [], isParsed: false }
    if (isKept) known.texts.set(key, prepared)
    messages.prepare(prepared.name, sql, typesOf(values))
  }
  messages.run(prepared.name, values)
  return prepared
}
