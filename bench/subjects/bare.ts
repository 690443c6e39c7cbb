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
  start: startRelay,
}

async function startRelay({ upstreamPort, folder, profiled }: Ground): Promise<Running> {
  const port = await freePort()
  const program = join(import.meta.dirname, '../bare-relay.ts')
  const inspector = profiled ? await freePort() : undefined
  const flags = inspector === undefined ? [] : [`--inspect=127.0.0.1:${inspector}`]
  const words = [process.execPath, ...flags, program, `http://127.0.0.1:${upstreamPort}`, String(port)]
  const started = await startProgram({ core: gatewayCore, words, log: join(folder, 'relay.log') }, port)
  return {
    port,
    pids: () => [started.pid],
    callers,
    ...(inspector !== undefined && { inspector }),
    [Symbol.asyncDispose]: () => started.stop(),
  }
}
