import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, loadavg, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { connectApi, pathOf } from '../src/cli/client.ts'
import { openLedger } from '../src/ledger/ledger.ts'
import { systemClock } from '../src/lib/clock.ts'
import { statement } from '../src/storage/database.ts'
import { openSqlite } from '../src/storage/sqlite.ts'
import { randomFrom } from '../test/chance.ts'
import { gatewayCore, loadCore, pinMyself } from './cores.ts'
import { fileSystemOf } from './disk.ts'
import { percentile, shown, tableOf } from './figures.ts'
import { model, prepareAnswers } from './load/answers.ts'
import { arrive, keepInFlight, type Load } from './load/load.ts'
import type { Heard } from './load/reader.ts'
import { requestOf } from './load/request.ts'
import { freePort, startProgram } from './subjects/program.ts'

/**
 * What a gateway serves when more and more is asked of it than can be served. Calls come when they are due, not when there is room. Models take
 * seconds, so what runs out is slots; only when the upstream answers at once it is the gateway's core.
 */
const users = 8
const perUser = 25
const times = [0.5, 1, 2, 3, 5]
const bounds = [
  { name: 'slots', bound: 'its slots', afterMs: 500, runMs: 10_000 },
  { name: 'core', bound: 'its core', afterMs: 0, runMs: 4_000 },
] as const
/** Connections: beyond it the clients' own machine is the bound. */
const lanes = 1_000

const countCompleted = statement(`select count(*) as count from calls where ended = 'completed'`)

const options = {
  folder: { type: 'string', default: tmpdir() },
  /** slots or core; both when it is left out. */
  bound: { type: 'string' },
  /** The setting callsInHandMax; its default when it is left out. 0 lets in whatever comes. */
  'in-hand': { type: 'string' },
} as const
const { values: said } = parseArgs({ options })
try {
  pinMyself()
  const folder = mkdtempSync(join(said.folder, 'headgate-bench-'))
  try {
    await run(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
} catch (error) {
  console.error(`bench:overload: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

async function run(folder: string): Promise<void> {
  await using scope = new AsyncDisposableStack()
  const { json } = await prepareAnswers()
  const upstreamPort = await freePort()
  const upstreamWords = [process.execPath, join(import.meta.dirname, 'upstream.ts'), String(upstreamPort)]
  scope.use(await startProgram({ core: loadCore, words: upstreamWords, log: join(folder, 'upstream.log') }, upstreamPort))
  const port = await freePort()
  const data = join(folder, 'data')
  const inHand: Record<string, string> = said['in-hand'] === undefined ? {} : { HEADGATE_CALLS_IN_HAND_MAX: said['in-hand'] }
  const env = { HEADGATE_LISTEN: `127.0.0.1:${port}`, HEADGATE_DATA: data, HEADGATE_STOP_NOTICE_MS: '0', ...inHand }
  const words = [process.execPath, join(import.meta.dirname, '../bin/headgate.mjs'), 'serve']
  const gateway = scope.use(await startProgram({ core: gatewayCore, words, env, log: join(folder, 'serve.log') }, port))
  const keys = await furnish(`http://127.0.0.1:${port}`, data, upstreamPort)

  const wrong = ({ status, bytes }: Heard) =>
    status === 429 || (status === 200 && bytes === json.bodyBytes) ? undefined : 'neither served nor refused'
  console.log(`${cpus().length} cores of ${cpus()[0]?.model}, Linux ${release()}, Node ${process.version}, ${fileSystemOf(folder)}`)
  let served = 0
  for (const { name, bound, afterMs, runMs } of bounds) {
    if (said.bound !== undefined && said.bound !== name) continue
    const load: Load = { port, requests: keys.map(key => requestOf({ stream: false, afterMs }, { key })), wrong }
    const measured = await measure(load, runMs)
    served += measured.served
    const capacity = `${shown(measured.capacity)} calls a second, ${users * perUser} at a time, answered after ${afterMs} ms`
    console.log(`\nThe bound is ${bound}: capacity ${capacity}; load average ${shown(loadavg()[0]!)}\n`)
    console.log(tableOf(['asked', 'served/s', 'p50 ms', 'p99 ms', 'since sent', 'refused/s', 'p50 ms', 'p99 ms'], measured.lines))
  }
  await gateway.stop()
  await expectBooked(data, served)
}

interface Measured {
  /** Calls a second, when as many are in flight as have a slot. */
  readonly capacity: number
  /** Calls in all. */
  readonly served: number
  readonly lines: readonly (readonly string[])[]
}

async function measure(load: Load, runMs: number): Promise<Measured> {
  const warm = await keepInFlight(load, users * perUser, 3_000)
  const closed = await keepInFlight(load, users * perUser, 3_000)
  const capacity = closed.calls / closed.seconds
  let served = warm.calls + closed.calls
  const lines: string[][] = []
  for (const factor of times) {
    const took = { served: [] as number[], sinceSent: [] as number[], refused: [] as number[] }
    const told = ({ status }: Heard, tookMs: number, sinceSentMs: number) => {
      if (status !== 200) return void took.refused.push(tookMs)
      took.served.push(tookMs)
      took.sinceSent.push(sinceSentMs)
    }
    const { seconds } = await arrive({ ...load, told }, { perSecond: factor * capacity, ms: runMs, lanes, chance: randomFrom(5) })
    served += took.served.length
    const ms = (values: readonly number[]) => [shown(percentile(values, 50)), shown(percentile(values, 99))]
    lines.push([
      `${factor} ×`,
      shown(took.served.length / seconds),
      ...ms(took.served),
      shown(percentile(took.sinceSent, 99)),
      shown(took.refused.length / seconds),
      ...ms(took.refused),
    ])
  }
  return { capacity, served, lines }
}

async function furnish(url: string, data: string, upstreamPort: number): Promise<string[]> {
  const api = connectApi({ url, data, adminToken: null })
  const emails = Array.from({ length: users }, (_, number) => `user${number}@example.com`)
  const account = { baseUrl: `http://127.0.0.1:${upstreamPort}/v1`, groups: ['default'], allowPrivateAddress: true, concurrency: 200 }
  const setup = {
    groups: [{ name: 'default' }],
    accounts: [1, 2].map(number => ({ name: `account${number}`, apiKey: `sk-upstream-${number}`, ...account })),
    users: emails.map(email => ({ email, concurrency: perUser })),
    prices: [{ model, input: '2', cached: '0.2', output: '10' }],
  }
  await api.send('POST', pathOf('apply'), { setup })
  const keys: string[] = []
  for (const user of emails) {
    await api.send('POST', pathOf('wallets', user, 'credit'), { amount: '1000000', reason: 'bench' })
    keys.push(String((await api.send('POST', pathOf('keys'), { user, groups: ['default'], name: 'bench' }))['key']))
  }
  return keys
}

/** Nothing of what was served is lost, whatever the load was. */
async function expectBooked(data: string, served: number): Promise<void> {
  const database = await openSqlite(join(data, 'headgate.db'))
  try {
    const [counted] = await database.report(countCompleted)
    const differences = await openLedger(database, systemClock).check()
    if (Number(counted!.count) !== served || differences.length > 0)
      throw new Error(`${served} calls were served, ${counted!.count} are on the books, ${differences.length} sums are wrong`)
    console.log(`\n${served.toLocaleString('en')} calls served, every one on the books once; they balance`)
  } finally {
    await database.close()
  }
}
