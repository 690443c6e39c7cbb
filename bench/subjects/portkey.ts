import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { gatewayCore } from '../cores.ts'
import { freePort, startProgram } from './program.ts'
import type { Ground, Running, Subject } from './subject.ts'

const peers = join(import.meta.dirname, '../peers')
const program = join(peers, 'node_modules/@portkey-ai/gateway/build/start-server.js')

/** A gateway that others run, in the same runtime. It routes and logs, and keeps no books. */
export const portkey: Subject = {
  name: 'portkey',
  about: 'Portkey gateway 1.15.2 from npm: one provider, no cache, no checks, books nothing',
  noStreams: 'it answers every streamed /v1/responses with status 500 ("TypeError: immutable" in its log)',
  start: startPortkey,
}

/** The provider and its address are said by headers, call by call: https://portkey.ai/docs (x-portkey-provider, x-portkey-custom-host). */
async function startPortkey({ upstreamPort, folder }: Ground): Promise<Running> {
  install()
  const port = await freePort()
  const words = [process.execPath, program, '--headless', `--port=${port}`]
  const env = { NODE_ENV: 'production' }
  const started = await startProgram({ core: gatewayCore, words, env, log: join(folder, 'portkey.log') }, port)
  const headers = { 'x-portkey-provider': 'openai', 'x-portkey-custom-host': `http://127.0.0.1:${upstreamPort}/v1` }
  const callers = [
    { key: 'sk-bench-1', headers },
    { key: 'sk-bench-2', headers },
  ]
  return { port, pids: () => [started.pid], callers, rewrites: true, [Symbol.asyncDispose]: () => started.stop() }
}

/** Exactly the versions of the lock file, in a folder of its own, and no install script is run. */
function install(): void {
  if (existsSync(program)) return
  process.stderr.write('installing the peers of the benchmark\n')
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: peers, stdio: 'ignore' })
}
