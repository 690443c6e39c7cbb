import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SettingName } from '../../src/config/settings.ts'
import { type GatewayProcess, startGateway } from '../anomaly/gateway-process.ts'
import { type Far, type Link, openLink } from './link.ts'
import { steadyPort } from './steady-port.ts'

/** One of several gateways: a process of its own, with a data folder and wires of its own, at the same address after each start. */
export interface Node extends AsyncDisposable {
  /** Its own, past nginx. */
  readonly url: string
  /** host:port */
  readonly address: string
  readonly data: string
  readonly redis: Link
  readonly postgres: Link
  /** What runs now, or ran last. */
  running(): GatewayProcess
  /** SIGKILL. Resolves when it is gone. */
  kill(): Promise<void>
  /** SIGTERM. Resolves to its exit code. */
  stop(): Promise<number | null>
  /** Resolves when it listens. Its clock is off by so much when that is said. */
  start(how?: { readonly clockOffMs?: number }): Promise<void>
  /** `stop`, then `start`. */
  restart(how?: { readonly clockOffMs?: number }): Promise<void>
  /** It stands still: connections stay, nobody is answered. */
  sigstop(): void
  sigcont(): void
}

export type NodeSettings = Partial<Record<SettingName, string | number>>

export interface NodeParts {
  readonly redis: Far
  readonly postgres: Far
  /** What its PostgreSQL URL ends in, from the `?` on. */
  readonly search: string
  readonly settings: NodeSettings
}

export async function startNode({ redis, postgres, search, settings }: NodeParts): Promise<Node> {
  await using scope = new AsyncDisposableStack()
  const data = mkdtempSync(join(tmpdir(), 'headgate-node-'))
  scope.defer(() => rmSync(data, { recursive: true, force: true }))
  const links = { redis: scope.use(await openLink(redis)), postgres: scope.use(await openLink(postgres)) }
  const address = `127.0.0.1:${await steadyPort()}`
  const all: NodeSettings = {
    ...settings,
    listen: address,
    redisUrl: `redis://127.0.0.1:${links.redis.port}`,
    databaseUrl: `postgres://headgate@127.0.0.1:${links.postgres.port}/postgres${search}`,
  }
  let running = await startGateway(data, all)
  scope.defer(() => running[Symbol.asyncDispose]())
  const node: Omit<Node, typeof Symbol.asyncDispose> = {
    ...{ url: `http://${address}`, address, data, ...links },
    running: () => running,
    async kill() {
      running.child.kill('SIGKILL')
      await running.exit
    },
    async stop() {
      running.child.kill('SIGTERM')
      return running.exit
    },
    async start({ clockOffMs = 0 } = {}) {
      running = await startGateway(data, all, clockOffMs === 0 ? [] : ['env', `NODE_OPTIONS=${clockOff(clockOffMs)}`])
    },
    async restart(how) {
      await node.stop()
      await node.start(how)
    },
    sigstop: () => void running.child.kill('SIGSTOP'),
    sigcont: () => void running.child.kill('SIGCONT'),
  }
  const rest = scope.move()
  return { ...node, [Symbol.asyncDispose]: () => rest.disposeAsync() }
}

/** What this process and its threads take for the time is off: what the program asks of the clock goes through these. */
function clockOff(ms: number): string {
  const shift = `const real = Date.now; const Real = Date;
    globalThis.Date = class extends Real { constructor(...a) { if (a.length === 0) super(real() + ${ms}); else super(...a) } };
    globalThis.Date.now = () => real() + ${ms};`
  return `--import=data:text/javascript,${encodeURIComponent(shift)}`
}
