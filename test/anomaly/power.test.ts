import { execFile } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { expect, type TestContext, test } from 'vitest'
import { openStream, send, type Target } from '../client.ts'
import { until } from '../world.ts'
import { runCommand, startGateway } from './gateway-process.ts'
import { leaveBooks } from './left-books.ts'

/**
 * T3: a charge has reached the disk before its call's last bytes leave, so no power cut takes what was acknowledged. Shown by what
 * the kernel was asked to do, in its order.
 */

const traced = 'openat,fsync,fdatasync,pwrite64,pwritev,write,writev,sendto,sendmsg'
/** Whole pages of the books, so that what is written can be read. */
const charsTraced = 20_000

test.for(['json', 'stream'] as const)('(%s) the daybook is synced before the last bytes of an answer leave', async (kind, ctx) => {
  await using ground = await openGround(ctx)
  const ids: string[] = []
  for (let call = 0; call < 3; call += 1) ids.push(await ask(ground.target, kind))
  const trace = await ground.end()
  // So opened, a write has reached the disk when it returns.
  expect(trace.findLast(line => line.includes('openat(') && line.includes('calls.daybook"'))).toMatch(/O_WRONLY\|O_DSYNC/)
  for (const id of ids) {
    expectSyncedFirst(trace, {
      id,
      kind,
      file: 'calls.daybook',
      charge: new RegExp(`\\[2,.*\\],\\[\\\\"${id}`),
      isSyncedAsWritten: true,
    })
    expect(trace.some(line => line.includes('headgate.db-wal') && line.includes(`charge${id}`))).toBe(true)
  }
})

test.for(['json', 'stream'] as const)('(%s) so are the books, where they have been told of the hold', async (kind, ctx) => {
  await using ground = await openGround(ctx)
  const { world, target } = ground
  world.sim.script({}, { hold: { gate: 'go on', at: 'firstEvent' } })
  const asked = ask(target, kind)
  await world.sim.seen(1)
  await ground.look()
  world.sim.open('go on')
  const id = await asked
  expectSyncedFirst(await ground.end(), { id, kind, file: 'headgate.db-wal', charge: new RegExp(`charge${id}`) })
})

test.for(['json', 'stream'] as const)('(%s) so is the journal, when the books do not take the charge in time', async (kind, ctx) => {
  await using ground = await openGround(ctx)
  const { world, target } = ground
  world.sim.script({}, { hold: { gate: 'go on', at: 'firstEvent' } })
  const asked = ask(target, kind)
  await world.sim.seen(1)
  await ground.look()
  const other = new DatabaseSync(join(world.data, 'headgate.db'), { timeout: 5_000 })
  other.exec('begin immediate')
  world.sim.open('go on')
  const id = await asked
  other.close()
  await until(() => statSync(join(world.data, 'owed.journal')).size === 0, 'the journal is not taken')
  expectSyncedFirst(await ground.end(), { id, kind, file: 'owed.journal', charge: new RegExp(`\\\\"callId\\\\":\\\\"${id}`) })
})

interface Written {
  readonly id: string
  readonly kind: 'json' | 'stream'
  /** Where the charge is written, and how it is known there. */
  readonly file: string
  readonly charge: RegExp
  /** Each write is a sync. */
  readonly isSyncedAsWritten?: boolean
}

/** A line of the trace that is whole ends its call to the kernel before the next line begins. */
function expectSyncedFirst(trace: readonly string[], { id, kind, file, charge, isSyncedAsWritten = false }: Written): void {
  const written = trace.findIndex(line => line.includes(file) && charge.test(line))
  expect(written, `the charge of ${id} is not written to ${file}`).toBeGreaterThanOrEqual(0)
  const synced = isSyncedAsWritten ? endOf(trace, written) : syncedAt(trace, file, written)
  const head = trace.findIndex(line => line.includes(`x-request-id: ${id}`))
  const socket = /socket:\[\d+\]/.exec(trace[head]!)![0]
  // Of a JSON answer nothing may leave before, of a stream all but its end.
  const last = kind === 'json' ? head : trace.findLastIndex(line => line.includes(socket) && line.includes('event: response.completed'))
  expect(last, `the end of ${id} is not written`).toBeGreaterThanOrEqual(0)
  expect(synced, `${file} is not synced after the charge of ${id}`).toBeGreaterThanOrEqual(written)
  expect(last, `the last bytes of ${id} left before ${file} was synced`).toBeGreaterThan(synced)
}

/** Where a sync of the file that began after `from` has returned; -1 when none has. Its end may stand on a line of its own, by thread. */
function syncedAt(trace: readonly string[], file: string, from: number): number {
  for (let at = from + 1; at < trace.length; at += 1) {
    const line = trace[at]!
    if (!/f(data)?sync\(/.test(line) || !line.includes(file)) continue
    const end = endOf(trace, at)
    if (/\) += 0/.test(trace[end] ?? '')) return end
  }
  return -1
}

/** Where the call to the kernel that begins at this line returns. */
function endOf(trace: readonly string[], at: number): number {
  const line = trace[at]!
  if (!line.includes('<unfinished')) return at
  const thread = line.split(' ')[0]
  return trace.findIndex((later, index) => index > at && later.startsWith(`${thread} `) && later.includes(' resumed>'))
}

async function ask(target: Target, kind: 'json' | 'stream'): Promise<string> {
  if (kind === 'json') return String((await send(target)).headers['x-request-id'])
  await using stream = openStream(target)
  const { headers } = await stream.begun
  await stream.until('response.completed')
  await stream.rest()
  return String(headers['x-request-id'])
}

async function openGround(ctx: TestContext) {
  const reason = await untraceable()
  if (reason !== undefined) {
    console.log(`skipped: ${reason}`)
    return ctx.skip(reason)
  }
  await using scope = new AsyncDisposableStack()
  const world = scope.use(await leaveBooks())
  const file = join(world.folder, 'trace')
  // As a child of the program (-D), so that signals reach the program itself.
  const strace = ['strace', '-D', '-f', '-y', '-s', String(charsTraced), '-e', `trace=${traced}`, '-o', file, '--']
  const gateway = scope.use(await startGateway(world.data, { stopNoticeMs: 0 }, strace))
  const rest = scope.move()
  return {
    world,
    target: { url: gateway.url, key: world.key },
    /** Whoever looks has the books told of the holds. */
    look: () => runCommand(gateway, world.data, 'ledger', 'check'),
    /** Stops the gateway. What the kernel was asked, a line each. */
    async end(): Promise<readonly string[]> {
      gateway.child.kill('SIGTERM')
      expect(await gateway.exit).toBe(0)
      await until(() => /\+\+\+ exited with 0 \+\+\+\n$/.test(readFileSync(file, 'latin1')), 'the trace has no end')
      return readFileSync(file, 'latin1').split('\n')
    },
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  }
}

/** Why not, when the system has no strace or lets it trace nobody. */
async function untraceable(): Promise<string | undefined> {
  try {
    await promisify(execFile)('strace', ['-D', '-f', '-o', '/dev/null', 'true'], { timeout: 10_000 })
    return undefined
  } catch (error) {
    return `strace cannot be used here: ${error instanceof Error ? error.message.trim().replaceAll('\n', ' ') : error}`
  }
}
