import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { served } from './routes.ts'
import { routeNames } from './script.ts'
import { readScriptFile, type ScriptFile } from './script-file.ts'
import { openSim } from './sim.ts'

/** `node sim/main.ts [--port 9090] [--host 127.0.0.1] [--script file.json] [--help]`: the scripted upstream by itself, until SIGTERM or SIGINT. */
const portMax = 65_535

const { port, host, file } = readArguments()
const { scripts, ...options } = file
try {
  const sim = await openSim({
    port,
    host,
    record: false,
    ...options,
  })
  for (const { script, ...target } of scripts) sim.script(target, script)
  console.log(`scripted upstream ready at ${sim.url}`)
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => void sim.close())
} catch (error) {
  fail(`cannot listen on ${host}:${port}: ${sentence(error)}`, 1)
}

function readArguments(): { port: number; host: string; file: ScriptFile } {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string', default: '9090' },
        host: { type: 'string', default: '127.0.0.1' },
        script: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    if (values.help) return help()
    const port = Number(values.port)
    if (!/^\d+$/.test(values.port) || port > portMax) throw new Error(`--port ${values.port} is no port: it must be 0 to ${portMax}`)
    const file = values.script === undefined ? { scripts: [] } : readScriptFile(readFileSync(values.script, 'utf8'))
    return { port, host: values.host, file }
  } catch (error) {
    return fail(sentence(error), 2)
  }
}

function help(): never {
  console.log(`Usage: node sim/main.ts [--port 9090] [--host 127.0.0.1] [--script file.json]

A scripted upstream: it answers as the OpenAI API would, with what the script file says, until SIGTERM or SIGINT.

Script file, JSON:
  {"scripts": [{"key"?, "model"?, "route"?, "script": {...} or [{...}, ...]}], "prices"?: {...}, "models"?: [...],
   "organisations"?: {"key": "organisation"}, "websocket"?: false or {"connectionMs"?, "inFlightMax"?, "lanesMax"?}}
  Routes: ${routeNames.join(', ')}.

It has, with and without /v1:
${served.map(each => `  ${each}`).join('\n')}

What a script can say stands in sim/script.ts.`)
  process.exit(0)
}

function fail(why: string, status: number): never {
  console.error(`scripted upstream: ${why}`)
  process.exit(status)
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
