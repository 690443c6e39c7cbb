import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Api, connectApi, pathOf } from '../../src/cli/client.ts'
import { openLedger } from '../../src/ledger/ledger.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { type Database, statement } from '../../src/storage/database.ts'
import { openSqlite } from '../../src/storage/sqlite.ts'
import { gatewayCore } from '../cores.ts'
import { model } from '../load/answers.ts'
import type { Caller } from '../load/request.ts'
import { publishedIn, source } from './package.ts'
import { freePort, startProgram } from './program.ts'
import type { Ground, Running, Subject } from './subject.ts'

/** As an operator runs it: the program itself, with the defaults of every setting but `patience`. */
export const headgate: Subject = {
  name: 'headgate',
  about: 'Headgate embedded, everything on: keys, limits, rates, hold, synced settle, row, metrics, log',
  keepsBooks: true,
  start: startEmbedded,
}

async function startEmbedded(ground: Ground): Promise<Running> {
  const data = join(ground.folder, 'headgate')
  const open = async () => {
    const books = await openSqlite(join(data, 'headgate.db'))
    const { journalMode, synchronous } = books.settings
    return { database: books, engine: `journal_mode ${journalMode}, synchronous ${synchronous}` }
  }
  return startGateway(ground, { data, env: {}, open })
}

/** One kind of books, and how to look into them when the gateway has stopped. */
export interface Installation {
  readonly data: string
  readonly env: Readonly<Record<string, string>>
  /** Who is known to these books already, because another gateway has them, too. */
  readonly known?: readonly Caller[]
  readonly open: () => Promise<{ readonly database: Database; readonly engine: string }>
}

/** Where other programs take most of the core, calls shall wait longer for the books, and not be refused: a refusal ends the run. */
const patience = { HEADGATE_BOOKS_TIMEOUT_MS: '10000', HEADGATE_STOP_NOTICE_MS: '0' }

export async function startGateway(
  { upstreamPort, folder, profiled, fromSource }: Ground,
  { data, env, known, open }: Installation,
): Promise<Running> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  mkdirSync(data, { recursive: true })
  const inspector = profiled ? await freePort() : undefined
  const flags = inspector === undefined ? [] : [`--inspect=127.0.0.1:${inspector}`]
  const settings = { HEADGATE_LISTEN: `127.0.0.1:${port}`, HEADGATE_DATA: data, ...patience, ...env }
  const words = [process.execPath, ...flags, fromSource ? source : publishedIn(folder), 'serve']
  const started = await startProgram({ core: gatewayCore, words, env: settings, log: join(data, 'serve.log') }, port)
  const callers = known ?? (await furnish(connectApi({ url, data, adminToken: null }), upstreamPort))
  return {
    port,
    pids: () => [started.pid],
    callers,
    ...(inspector !== undefined && { inspector }),
    async audit(calls) {
      await started.stop()
      const { database, engine } = await open()
      try {
        await expectBooked(database, calls)
      } finally {
        await database.close()
      }
      return engine
    },
    [Symbol.asyncDispose]: () => started.stop(),
  }
}

const users = 8
const keysPerUser = 2
const accounts = 4
/** Limits that are kept and counted, and that no load of this benchmark reaches. */
const atOnce = 2_000
const perMinute = 1_000_000_000_000

/** Several people with money and limits, and several accounts with limits. Returns everybody's keys. */
async function furnish(api: Api, upstreamPort: number): Promise<Caller[]> {
  const rates = { concurrency: atOnce, requestsPerMinute: perMinute, tokensPerMinute: perMinute }
  const emails = Array.from({ length: users }, (_, number) => `user${number}@example.com`)
  const upstream = { baseUrl: `http://127.0.0.1:${upstreamPort}/v1`, groups: ['default'], allowPrivateAddress: true, ...rates }
  const setup = {
    groups: [{ name: 'default' }],
    accounts: Array.from({ length: accounts }, (_, number) => ({ name: `account${number}`, apiKey: `sk-upstream-${number}`, ...upstream })),
    users: emails.map(email => ({ email, ...rates })),
    prices: [{ model, input: '2', cached: '0.2', output: '10' }],
  }
  await api.send('POST', pathOf('apply'), { setup })
  const callers: Caller[] = []
  for (const user of emails) {
    await api.send('POST', pathOf('wallets', user, 'credit'), { amount: '1000000', reason: 'bench' })
    for (let number = 0; number < keysPerUser; number += 1) {
      const made = await api.send('POST', pathOf('keys'), { user, groups: ['default'], name: `key ${number}`, ...rates })
      callers.push({ key: String(made['key']) })
    }
  }
  return callers
}

/** Figures of a gateway that lost or doubled something would be none. */
async function expectBooked(database: Database, calls: number): Promise<void> {
  const [counted] = await database.report(countAll)
  const expected = BigInt(calls)
  assert.deepEqual(counted, { calls: expected, completed: expected, attempts: expected, charged: expected, uncharged: 0n, held: 0n })
  assert.deepEqual(await openLedger(database, systemClock).check(), [], 'the books do not balance')
}

const countAll = statement(`select (select count(*) from calls) as calls,
  (select count(*) from calls where ended = 'completed' and basis = 'reported') as completed,
  (select count(*) from attempts) as attempts,
  (select count(*) from entries where kind = 'charge') as charged,
  (select count(*) from calls where not exists (select 1 from entries where entries.kind = 'charge' and entries.reference = calls.id))
    as uncharged,
  (select count(*) from holds where state = 'held') as held`)
