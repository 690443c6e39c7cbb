import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { parseSync } from 'oxc-parser'
import { expect, test } from 'vitest'

/**
 * The house rules that a program can check. A file imports from its own folder and from the steps before it; ledger stands
 * before directory, usage and protocols because those speak of prices and usage, and it of none of them.
 */
const steps = [
  ['lib'],
  ['storage', 'coordination'],
  ['ledger'],
  ['directory', 'usage', 'protocols'],
  ['upstreams'],
  ['gateway', 'admin'],
  ['config'],
  ['cli'],
]

/** Chosen where the gateway is assembled, known to nobody else. */
const adapters = /\/(sqlite|postgres|memory|redis)\.ts$/
const assemblers = new Set(['src/headgate.ts', 'src/engines.ts', 'src/in-flight.ts'])

/** Everybody else is told the time, and draws no lots: so that a run can be replayed. */
const timeless = /^src\/(ledger|protocols|upstreams|coordination|gateway)\//
const timeful = /\b(Date\.now|Math\.random|performance\.now|setTimeout|setInterval)\(|new Date\(\)/

const linesMax = 400
const functionLinesMax = 60
const parametersMax = 4

/** Words that say nothing about what a file is. */
const emptyNames = /(^|-)(utils?|helpers?|manager|service|handler|info|context|misc|common)(-|\.|$)/

const files = globSync(['src/**/*.ts', 'sim/**/*.ts', 'bench/**/*.ts', 'test/**/*.ts'], { exclude: ['**/node_modules/**'] })
  .map(path => path.replaceAll('\\', '/'))
  .sort()

test('there is something to check', () => expect(files.length).toBeGreaterThan(100))

for (const [rule, check] of Object.entries({
  filesAreShort,
  namesSaySomething,
  functionsAreSmall,
  importsPointDown,
  onlyConfigReadsTheEnvironment,
  nobodyLooksAtTheClock,
  pathsOfThisMachineStayOut,
  onlyEgressConnects,
})) {
  test(`tidy: ${rule}`, () => expect(files.flatMap(path => check(path, read(path)))).toEqual([]))
}

function filesAreShort(path: string, text: string): string[] {
  const lines = text.split('\n').length - 1
  return lines > linesMax ? [`${path}: ${lines} lines`] : []
}

function namesSaySomething(path: string): string[] {
  return emptyNames.test(path.split('/').at(-1)!) ? [`${path}: the name says nothing`] : []
}

function functionsAreSmall(path: string, text: string): string[] {
  if (path.endsWith('.test.ts')) return [] // A test's callback is a story, and its table as long as it must be.
  const found: string[] = []
  for (const node of nodesOf(path, text)) {
    if (!isFunction(node)) continue
    const lines = text.slice(node.start, node.end).split('\n').length
    const parameters = (node['params'] as unknown[] | undefined)?.length ?? 0
    const at = `${path}:${lineAt(text, node.start)}`
    if (lines > functionLinesMax) found.push(`${at}: a function of ${lines} lines`)
    if (parameters > parametersMax) found.push(`${at}: a function of ${parameters} parameters`)
  }
  return found
}

function importsPointDown(path: string, text: string): string[] {
  if (!path.startsWith('src/') || /\.(test|fixture)\.ts$/.test(path)) return []
  const folder = folderOf(path)
  const found: string[] = []
  for (const target of importsOf(path, text)) {
    const other = folderOf(target)
    if (adapters.test(target) && !assemblers.has(path)) found.push(`${path}: only the assembler may import ${target}`)
    if (!target.startsWith('src/') || folder === undefined || other === folder) continue
    if (other === undefined && target !== 'src/config.ts') {
      if (folder !== 'cli') found.push(`${path}: ${folder} may not import ${target}`)
    } else if (rank(other ?? 'config') >= rank(folder)) {
      found.push(`${path}: ${folder} may not import ${other}`)
    }
  }
  return found
}

function onlyConfigReadsTheEnvironment(path: string, text: string): string[] {
  return path.startsWith('src/') && path !== 'src/config.ts' && !path.endsWith('.test.ts') && text.includes('process.env')
    ? [`${path}: only src/config.ts reads process.env`]
    : []
}

function nobodyLooksAtTheClock(path: string, text: string): string[] {
  return timeless.test(path) && !/\.(test|fixture)\.ts$/.test(path) && timeful.test(text) ? [`${path}: time and chance are parameters`] : []
}

function pathsOfThisMachineStayOut(path: string, text: string): string[] {
  return /["'`\s(]\/(work|root|home)\//.test(text) ? [`${path}: names a path of some machine`] : []
}

function onlyEgressConnects(path: string, text: string): string[] {
  const imports = /from '(undici|ws|node:https?|node:net|node:tls)'/.exec(text)?.[1]
  if (imports === undefined || !/^src\//.test(path) || /\.(test|fixture)\.ts$/.test(path)) return []
  const connects =
    /\b(fetch|request|connect|createConnection)\(|new WebSocket\(/.test(text) ||
    (imports === 'undici' && !/import type[^\n]*'undici'/.test(text))
  return connects && path !== 'src/upstreams/egress.ts' ? [`${path}: only upstreams/egress.ts opens a connection`] : []
}

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [name: string]: unknown
}

function nodesOf(path: string, text: string): Node[] {
  const { program, errors } = parseSync(path, text)
  if (errors.length > 0) throw new Error(`${path} cannot be read: ${errors[0]!.message}`)
  const found: Node[] = []
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit)
    if (typeof value !== 'object' || value === null) return
    if (isNode(value)) found.push(value)
    Object.values(value).forEach(visit)
  }
  visit(program)
  return found
}

function isNode(value: object): value is Node {
  return 'type' in value && typeof value.type === 'string' && 'start' in value
}

function isFunction({ type, body }: Node): boolean {
  return /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/.test(type) && body !== null
}

/** As paths from the root of the repository. */
function importsOf(path: string, text: string): string[] {
  const sources = nodesOf(path, text)
    .filter(({ type }) => /^(Import|ExportNamed|ExportAll)Declaration$|^ImportExpression$/.test(type))
    .map(({ source }) => (source as { value?: unknown } | null)?.value)
  return sources
    .filter(source => typeof source === 'string' && source.startsWith('.'))
    .map(source => relative('.', join(dirname(path), String(source))))
}

function folderOf(path: string): string | undefined {
  return /^src\/([a-z]+)\//.exec(path)?.[1]
}

function rank(folder: string): number {
  const found = steps.findIndex(step => step.includes(folder))
  if (found === -1) throw new Error(`${folder} has no place in the house`)
  return found
}

function lineAt(text: string, at: number): number {
  return text.slice(0, at).split('\n').length
}

const texts = new Map<string, string>()

function read(path: string): string {
  let text = texts.get(path)
  if (text === undefined) texts.set(path, (text = readFileSync(path, 'utf8')))
  return text
}
