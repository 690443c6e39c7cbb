import type { Client } from 'pg'
import type { Committed } from './database.ts'
import { connect, cut, type PostgresOptions, placeOf } from './postgres-connect.ts'
import { away, type Complaint, complaintOf, isAway, isForgotten, isLost, isWorthAnotherTry, refused } from './postgres-fault.ts'
import { isRefusal } from './postgres-guard.ts'
import { hasScript, runScript } from './postgres-script.ts'
import { type Command, openSession, type Ran, type Session } from './postgres-session.ts'

/** One connection, opened when first wanted, and again after it was lost. */
export interface Desk {
  /** Answers everyone of a batch, whatever happens; nobody before all that the batch has written is on the disk. */
  serve(batch: readonly Asked[]): Promise<void>
  end(): Promise<void>
}

/** A command, and who waits for its answer. */
export interface Asked {
  readonly command: Command
  readonly resolve: (committed: Committed) => void
  readonly reject: (error: Error) => void
  tries: number
}

/** A transaction that lost against another is run so often. */
const triesMax = 5
/** Beyond what the server itself allows a statement, until a connection without a word counts as dead. */
const silenceMs = 2_000
/** After a connection could not be had, whoever asks is refused at once for so long. */
const refusingMs = 100

interface Opened {
  readonly client: Client
  readonly session: Session
  readonly synchronousCommit: string
}

export function openDesk(options: PostgresOptions): Desk {
  const place = placeOf(options.url)
  let opened: Opened | undefined
  let refusing: { readonly error: unknown; readonly untilMs: number } | undefined
  let watch: NodeJS.Timeout | undefined

  async function open(): Promise<Opened> {
    if (refusing !== undefined && performance.now() < refusing.untilMs) throw refusing.error
    try {
      const { client, synchronousCommit } = await connect(options)
      client.once('end', () => {
        opened = undefined
      })
      const session = openSession(client, { synchronousCommit, onWord: () => void watch?.refresh() })
      return { client, session, synchronousCommit }
    } catch (error) {
      refusing = { error, untilMs: performance.now() + refusingMs }
      throw error
    }
  }

  return {
    async serve(batch) {
      const current = (opened ??= await open().catch((error: unknown) => void refuse(batch, away(place, complaintOf(error)))))
      if (current === undefined) return
      const isAlone = hasScript(batch[0]!.command.steps)
      if (!isAlone) watch = setTimeout(cut, options.statementTimeoutMs + silenceMs, current.client)
      const { answers, lost } = await (isAlone ? runAlone(current, batch[0]!, place) : runAll(current.session, batch, place))
      clearTimeout(watch)
      if (lost !== undefined) {
        opened = undefined
        cut(current.client)
        return refuse(batch, away(place, lost))
      }
      for (const [{ resolve, reject }, answer] of answers) {
        if (answer instanceof Error) reject(answer)
        else resolve(answer)
      }
    },
    async end() {
      await opened?.client.end()
    },
  }
}

function refuse(batch: readonly Asked[], error: Error): void {
  for (const { reject } of batch) reject(error)
}

/** `lost`: the connection is gone, or what was written cannot be synced. Then whether anything of the batch has landed is not known. */
interface Served {
  readonly answers: readonly (readonly [Asked, Committed | Error])[]
  readonly lost?: Complaint
}

/** Nobody looks at the clock meanwhile: a migration takes as long as it needs. */
async function runAlone({ client, synchronousCommit }: Opened, asked: Asked, place: string): Promise<Served> {
  try {
    const ran = await runScript(client, asked.command.steps, synchronousCommit)
    return { answers: [[asked, 'complaint' in ran ? verdictOn(ran.complaint, ran.sql, place) : ran]] }
  } catch (error) {
    return { answers: [], lost: complaintOf(error) }
  }
}

/** Each failure costs one more journey, for those who stood behind it. */
async function runAll(session: Session, batch: readonly Asked[], place: string): Promise<Served> {
  const answers: [Asked, Committed | Error][] = []
  const isSynced = batch.some(({ command }) => command.isWrite)
  for (let left = batch; ; ) {
    const commands = left.map(({ command }) => command)
    const { answers: done, complaint, failed } = await session.run(commands, isSynced)
    for (const [index, rows] of done.entries()) answers.push([left[index]!, { done: true, rows }])
    if (complaint === undefined) return { answers }
    const unlucky = left[done.length]
    if (unlucky === undefined || isLost(complaint)) return { answers: [], lost: complaint }
    left = left.slice(done.length + 1)
    if (isForgotten(complaint)) session.forget()
    if (isWorthAnotherTry(complaint) && ++unlucky.tries < triesMax) left = [unlucky, ...left]
    else answers.push([unlucky, answerTo(complaint, failed, place)])
  }
}

function answerTo(complaint: Complaint, failed: Ran['failed'], place: string): Committed | Error {
  if (failed?.rows !== undefined && isRefusal(complaint)) return { done: false, guard: failed.otherwise ?? 'a guard without a name' }
  return verdictOn(complaint, failed?.statement.sql ?? 'commit', place)
}

function verdictOn(complaint: Complaint, sql: string, place: string): Error {
  return isAway(complaint) ? away(place, complaint) : refused(complaint, sql)
}
