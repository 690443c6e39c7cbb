import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { readScriptFile, type ScriptFile } from './script-file.ts'
import { openSim } from './sim.ts'

/** `node sim/main.ts --port 9090 [--host 127.0.0.1] [--script file.json]`: the scripted upstream by itself, until SIGTERM or SIGINT. */
const portMax = 65_535

const { port, host, file } = readArguments()
try {
  const sim = await openSim({
    port,
    host,
    record: false,
    ...(file.prices && { prices: file.prices }),
    ...(file.models && { models: file.models }),
  })
  for (const { script, ...target } of file.scripts) sim.script(target, script)
  console.log(`scripted upstream ready at ${sim.url}`)
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => void sim.close())
} catch (error) {
  fail(`cannot listen on ${host}:${port}: ${sentence(error)}`, 1)
}

function readArguments(): { port: number; host: string; file: ScriptFile } {
  try {
    const { values } = parseArgs({
      options: { port: { type: 'string', default: '9090' }, host: { type: 'string', default: '127.0.0.1' }, script: { type: 'string' } },
    })
    const port = Number(values.port)
    if (!/^\d+$/.test(values.port) || port > portMax) throw new Error(`--port ${values.port} is no port: it must be 0 to ${portMax}`)
    const file = values.script === undefined ? { scripts: [] } : readScriptFile(readFileSync(values.script, 'utf8'))
    return { port, host: values.host, file }
  } catch (error) {
    return fail(sentence(error), 2)
  }
}

function fail(why: string, status: number): never {
  console.error(`scripted upstream: ${why}`)
  process.exit(status)
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
