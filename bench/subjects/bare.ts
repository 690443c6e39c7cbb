import { join } from 'node:path'
import { gatewayCore } from '../cores.ts'
import { freePort, startProgram } from './program.ts'
import type { Ground, Running, Subject } from './subject.ts'

const callers = [{ key: 'sk-bench-1' }, { key: 'sk-bench-2' }]

/** Nobody in between: what the load and the upstream can do, and so how far they are from being what is measured. */
export const direct: Subject = {
  name: 'direct',
  about: 'the upstream itself, nobody in between',
  start: async ({ upstreamPort }) => ({ port: upstreamPort, pids: () => [], callers, async [Symbol.asyncDispose]() {} }),
}

/** What this runtime can do at all. */
export const relay: Subject = {
  name: 'relay',
  about: 'bare relay: node:http and undici, parses body and answer once, books nothing',
  start: ground => startRelay(ground, 'relay'),
}

/** To see that the benchmark sees: what is added to the relay has to be read. */
export const late: Subject = {
  name: 'late',
  about: 'the bare relay, which holds up each call for 2 ms',
  onlyNamed: true,
  start: ground => startRelay(ground, 'late', 2),
}

async function startRelay({ upstreamPort, folder, profiled }: Ground, name: string, lateMs = 0): Promise<Running> {
  const port = await freePort()
  const program = join(import.meta.dirname, '../bare-relay.ts')
  const inspector = profiled ? await freePort() : undefined
  const flags = inspector === undefined ? [] : [`--inspect=127.0.0.1:${inspector}`]
  const words = [process.execPath, ...flags, program, `http://127.0.0.1:${upstreamPort}`, String(port), String(lateMs)]
  const started = await startProgram({ core: gatewayCore, words, log: join(folder, `${name}.log`) }, port)
  return {
    port,
    pids: () => [started.pid],
    callers,
    ...(inspector !== undefined && { inspector }),
    [Symbol.asyncDispose]: () => started.stop(),
  }
}
