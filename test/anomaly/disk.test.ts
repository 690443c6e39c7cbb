import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, type TestContext, test } from 'vitest'
import { type OpenStream, openStream, refusalOf, send, type Target } from '../client.ts'
import { until } from '../world.ts'
import { type GatewayProcess, runCommand, startGateway } from './gateway-process.ts'
import { chargesByCall, leaveBooks, select, withBooks } from './left-books.ts'
import { openSmallDisk, type SmallDisk } from './small-disk.ts'

/** The real program on a real file system that takes nothing any more. */

/** Of that the daybook has 8, and the slips 2. */
const diskMebibytes = 24
const settings = { logLevel: 'error', stopNoticeMs: 0 }
const callsRunning = 6

/** How the disk refuses, what becomes of those who run, and how it is made well again. */
interface Trouble {
  /** What ends in memory only. */
  readonly unwritten: number
  begin(disk: SmallDisk, gateway: GatewayProcess): void
  end(disk: SmallDisk, gateway: GatewayProcess): void
}

const troubles: Readonly<Record<string, Trouble>> = {
  // The daybook has all its room from the first day.
  'that is full': { unwritten: 0, begin: disk => disk.fill(), end: disk => disk.makeRoom() },
  // A file system cannot be made read-only under open files; that no file may be written beyond its first byte comes to the same.
  'that takes no write': {
    unwritten: callsRunning,
    begin: (_, gateway) => limitFiles(gateway, 0),
    end: (_, gateway) => limitFiles(gateway, 'unlimited'),
  },
}

test.for(Object.keys(troubles))(
  'on a disk %s nobody new is let in, what runs is kept in the daybook or in memory, and all is booked once later',
  async (how, ctx) => {
    await using ground = await openGround(ctx)
    const { world, disk, gateway } = ground
    const { unwritten, begin, end } = troubles[how]!
    const running = await startCalls(ground)
    begin(disk, gateway)
    world.sim.open('go on')
    const answers = await running.ends()
    expect(answers.size).toBe(callsRunning)
    // Whoever looks has the books told of what ended, which shows at once that they take nothing.
    await runCommand(gateway, ground.data, 'ledger', 'check')
    await expectRefused(ground.target)
    // Of those who are refused nothing is left that would have to be kept.
    expect([await metric(gateway, 'headgate_unwritten'), await metric(gateway, 'headgate_unposted')]).toEqual([unwritten, callsRunning])
    const ready = await send(ground.target, { method: 'GET', path: '/readyz' })
    expect(ready.status).toBe(unwritten > 0 ? 503 : 200)
    if (unwritten > 0) expect(ready.body).toContain(`${callsRunning} charges are in memory only`)

    end(disk, gateway)
    await until(async () => (await metric(gateway, 'headgate_unwritten')) === 0, 'what is in memory is not taken')
    await until(async () => (await metric(gateway, 'headgate_unposted')) === 0, 'what is in the daybook is not taken')
    await until(async () => (await metric(gateway, 'headgate_owed')) === 0, 'the journal is not taken')
    await until(async () => (await send(ground.target, { method: 'GET', path: '/readyz' })).status === 200, 'it is never ready again')
    expect((await send(ground.target)).status).toBe(200)
    await until(() => kept(gateway).length === unwritten, 'the log does not say what was in memory')
    if (unwritten > 0) expect(kept(gateway).sort()).toEqual([...answers.keys()].sort())
    await expectBookedOnce(ground, answers)
  },
)

test('what the books cannot take for want of room the journal takes, and after a kill it is booked once', async ctx => {
  await using ground = await openGround(ctx)
  const { world, disk, gateway, data } = ground
  const running = await startCalls(ground)
  // Whoever looks has the books told of the holds: then their log is long enough for all that the journal is to have.
  await runCommand(gateway, data, 'ledger', 'check')
  limitFiles(gateway, statSync(join(data, 'headgate.db-wal')).size)
  world.sim.open('go on')
  const answers = await running.ends()
  await expectRefused(ground.target)
  expect([await metric(gateway, 'headgate_owed'), await metric(gateway, 'headgate_unwritten')]).toEqual([callsRunning, 0])
  expect((await send(ground.target, { method: 'GET', path: '/readyz' })).status).toBe(200)
  gateway.child.kill('SIGKILL')
  await gateway.exit
  await using next = await startGateway(join(disk.path, 'data'), settings, disk.enter)
  await expectBookedOnce({ ...ground, gateway: next }, answers)
})

const unusable: Readonly<Record<string, { readonly make: (disk: SmallDisk) => unknown; readonly why: string }>> = {
  'a disk that is full': { make: disk => disk.fill(), why: 'the disk is full' },
  'a read-only disk': { make: disk => disk.makeReadOnly(), why: 'its file system is read-only' },
  'books that may only be read': { make: disk => disk.protect('data/headgate.db'), why: 'attempt to write a readonly database' },
  // What they are set to is read back, and would let a power cut take what was acknowledged.
  'books that cannot get a write-ahead log': {
    async make(disk) {
      const [command = '', ...argv] = [...disk.enter, process.execPath, '-e', dropLog, join(disk.path, 'data/headgate.db')]
      execFileSync(command, argv, { stdio: 'ignore' })
      await disk.protect('data/headgate.db')
    },
    why: 'attempt to write a readonly database',
  },
}

const dropLog = `new (require('node:sqlite').DatabaseSync)(process.argv[1]).exec('pragma journal_mode = delete')`

test.for(Object.entries(unusable))('on %s it does not start, and says why in one sentence', async ([, { make, why }], ctx) => {
  await using ground = await openGround(ctx)
  const { disk, gateway } = ground
  gateway.child.kill('SIGTERM')
  await gateway.exit
  await make(disk)
  const started = startGateway(join(disk.path, 'data'), settings, disk.enter)
  const said = await started.then(
    listening => listening[Symbol.asyncDispose]().then(() => 'it listens'),
    error => String(error.message),
  )
  expect(said).toMatch(/^the gateway ended with 1: The [^\n]*\n$/)
  expect(said).toContain(why)
})

interface Ground extends AsyncDisposable {
  readonly world: Awaited<ReturnType<typeof leaveBooks>>
  readonly disk: SmallDisk
  readonly gateway: GatewayProcess
  /** The data folder, on the disk, seen from outside. */
  readonly data: string
  readonly target: Target
}

async function openGround(ctx: TestContext): Promise<Ground> {
  await using scope = new AsyncDisposableStack()
  const disk = await openSmallDisk(diskMebibytes)
  if (typeof disk === 'string') {
    console.log(`skipped: ${disk}`)
    return ctx.skip(disk)
  }
  scope.use(disk)
  const world = scope.use(await leaveBooks({ balance: '1000', user: { concurrency: 0 }, accounts: [{ concurrency: 0 }] }))
  const data = join(disk.outside, 'data')
  cpSync(world.data, data, { recursive: true })
  const gateway = scope.use(await startGateway(join(disk.path, 'data'), settings, disk.enter))
  const rest = scope.move()
  return { world, disk, gateway, data, target: { url: gateway.url, key: world.key }, [Symbol.asyncDispose]: () => rest.disposeAsync() }
}

/** Half of them streams, which wait in the middle. */
async function startCalls({ world, target }: Ground) {
  world.sim.script({}, { hold: { gate: 'go on', at: 'firstEvent' } })
  const streams: OpenStream[] = []
  const answers = Array.from({ length: callsRunning }, async (_, index) => {
    if (index % 2 === 0) {
      const { headers, json } = await send(target)
      return [String(headers['x-request-id']), String(json.id)] as const
    }
    const stream = openStream(target)
    streams.push(stream)
    const { headers } = await stream.begun
    const { response } = await stream.until('response.completed')
    return [String(headers['x-request-id']), String(response.id)] as const
  })
  await world.sim.seen(callsRunning)
  return { ends: async () => new Map(await Promise.all(answers)) }
}

async function expectRefused(target: Target): Promise<void> {
  for (const answer of await Promise.all(Array.from({ length: 20 }, () => send(target))))
    expect(refusalOf(answer)).toMatchObject({ status: 503, code: 'billing_unavailable', retry: 'later' })
}

/** Ids of the calls of which the log says all that would have stood in the books. */
function kept(gateway: GatewayProcess): string[] {
  const lines = gateway
    .output()
    .split('\n')
    .filter(line => line.startsWith('{') && line.endsWith('}'))
  return lines.map(line => JSON.parse(line)).flatMap(({ end }) => (end?.row === undefined ? [] : [String(end.callId)]))
}

async function expectBookedOnce({ world, gateway, data }: Ground, answers: ReadonlyMap<string, string>): Promise<void> {
  expect(await runCommand(gateway, data, 'ledger', 'check')).toEqual({ code: 0, out: 'The books balance.\n', err: '' })
  gateway.child.kill('SIGTERM')
  expect(await gateway.exit).toBe(0)
  expect(statSync(join(data, 'owed.journal')).size).toBe(0)
  expect(existsSync(join(data, 'owed.journal.damaged'))).toBe(false)
  cpSync(data, world.data, { recursive: true })
  await withBooks(world.data, async database => {
    expect(await select(database, `select id from holds where state = 'held'`)).toEqual([])
    const charges = await chargesByCall(database)
    for (const [id, responseId] of answers) {
      const cost = world.sim.invoice.find(line => line.responseId === responseId)!.costNanos
      const rows = await select(database, `select * from calls where id = '${id}'`)
      expect(rows).toMatchObject([{ ended: 'completed', basis: 'reported', cost, uncollected: 0n }])
      expect(charges.get(id)).toEqual([-cost])
    }
  })
}

/** The kernel refuses what would make a file longer than so many bytes. */
function limitFiles({ child }: GatewayProcess, bytes: number | 'unlimited'): void {
  execFileSync('prlimit', ['--pid', String(child.pid), `--fsize=${bytes}:unlimited`])
}

async function metric({ url }: GatewayProcess, name: string): Promise<number> {
  const { body } = await send({ url, key: '' }, { method: 'GET', path: '/metrics', key: null })
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(body)?.[1])
}
