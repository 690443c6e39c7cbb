// `npm run build`: src and sim (the demo needs it) as plain JavaScript in dist, with what lies beside them.
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, globSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const root = join(import.meta.dirname, '..')
const dist = join(root, 'dist')

rmSync(dist, { recursive: true, force: true })
compile()
copyAssets()
refuseTypeScriptNames()
console.log(`Built ${globSync('**/*.js', { cwd: dist }).length} files in dist.`)

function compile() {
  const description = createRequire(import.meta.url).resolve('typescript/package.json')
  const tsc = join(dirname(description), JSON.parse(readFileSync(description, 'utf8')).bin.tsc)
  try {
    execFileSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json')], { cwd: root, stdio: 'inherit' })
  } catch {
    // The compiler has said what is wrong.
    process.exit(1)
  }
}

/** Scripts for Redis, pages and the like: whatever is read at run time by a path relative to the code. */
function copyAssets() {
  for (const folder of ['src', 'sim']) {
    for (const entry of globSync(`${folder}/**/*.*`, { cwd: root })) {
      if (entry.endsWith('.ts') || entry.endsWith('.md')) continue
      mkdirSync(dirname(join(dist, entry)), { recursive: true })
      copyFileSync(join(root, entry), join(dist, entry))
    }
  }
}

/** The compiler rewrites imports, but not names inside texts: `new URL('./worker.ts', …)` would only fail at a user's. */
function refuseTypeScriptNames() {
  const stale = globSync('**/*.js', { cwd: dist }).filter(file => {
    const names = readFileSync(join(dist, file), 'utf8').matchAll(/['"`](\.{1,2}\/[^'"`\n]*)\.ts['"`]/g)
    return [...names].some(([, name]) => existsSync(join(dist, dirname(file), `${name}.js`)))
  })
  if (stale.length === 0) return
  console.error(`These files name a .ts file that the package does not have: ${stale.join(', ')}.`)
  process.exit(1)
}
