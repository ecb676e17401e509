/** Temporary copies of src/, one for each mutant and one without any, all gone when the program ends. */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Mutant, mutatedFiles } from './mutant.ts';

export class Copies {
  readonly #root: string;
  readonly #home: string;

  private constructor(root: string, home: string) {
    this.#root = root;
    this.#home = home;
  }

  /** `root`: the project; its src/ is copied at once, so that later changes of it disturb nobody. */
  static async create(root: string): Promise<Copies> {
    const home = await mkdtemp(join(tmpdir(), 'covey-mutants-'));
    await cp(join(root, 'src'), join(home, 'pristine', 'src'), { recursive: true });
    const copies = new Copies(root, home);
    await copies.#furnish('pristine');
    return copies;
  }

  async #furnish(name: string): Promise<void> {
    await symlink(join(this.#root, 'node_modules'), join(this.#home, name, 'node_modules'));
    await cp(join(this.#root, 'package.json'), join(this.#home, name, 'package.json'));
  }

  /** The copy without any mutant. */
  get pristine(): string {
    return join(this.#home, 'pristine');
  }

  async plant(mutant: Mutant): Promise<string> {
    const files = await mutatedFiles(mutant, (file) =>
      readFile(join(this.pristine, 'src', file), 'utf8'),
    );
    const home = join(this.#home, mutant.name);
    await mkdir(home);
    await cp(join(this.pristine, 'src'), join(home, 'src'), { recursive: true });
    await this.#furnish(mutant.name);
    for (const [file, text] of files) await writeFile(join(home, 'src', file), text);
    return home;
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.#home, name), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await rm(this.#home, { recursive: true, force: true });
  }
}
