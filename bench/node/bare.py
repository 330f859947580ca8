"""Bare crun as the peer: create and start of the same bundle that the platform made, by the same init and with the same
filter, but nothing around it. The root file system is mounted before, read-only, from the layers that the instance has."""
import json
import os
import pathlib
import shutil
import subprocess
import time

from figures import fail
from scene import STAMP


def layers_of(scene, instance, cache):
    """As the agent stacks them: what is the instance's own, mount points, artifact, runtime, stack."""
    folder = scene.folder(instance)
    spec = json.loads((folder / "spec.json").read_text())
    name = lambda digest: "sha256-" + digest.split(":")[-1].removeprefix("sha256-")
    below = [scene.data / "node" / "artifacts" / name(spec["artifact"]) / "root"]
    below += [cache / "layers" / name(digest) / "root" for digest in spec["layers"]]
    base = [path for path in (scene.data / "node" / "base").iterdir() if path.is_dir()]
    return [folder / "bundle" / "top", *base, *below]


class Bare:
    def __init__(self, scene, instance, cache):
        self.place = scene.root / "bare"
        self.bundle = self.place / "bundle"
        (self.bundle / "rootfs").mkdir(parents=True)
        self.state = self.place / "state"
        top = self.place / "top"  # the instance may be gone while this runs
        own, *lower = layers_of(scene, instance, pathlib.Path(cache))
        shutil.copytree(own, top)
        for path in (self.place, self.bundle, scene.root):
            path.chmod(0o755)
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", "ro,lowerdir=" + ":".join(map(str, [top, *lower])),
                        self.bundle / "rootfs"], check=True)
        config = json.loads((scene.folder(instance) / "bundle" / "config.json").read_text())
        self.group = f"/dialtone-bench-{os.getpid()}"
        config["linux"]["cgroupsPath"] = self.group
        self.own_scratch(config)
        (self.bundle / "config.json").write_text(json.dumps(config))

    def own_scratch(self, config):
        """Ordinary folders where the instance has a file system of its own: making that is the platform's work."""
        for mount in config["mounts"]:
            if "/bundle/scratch/" in mount["source"]:
                folder = self.place / pathlib.Path(mount["source"]).name
                folder.mkdir()
                folder.chmod(0o777)
                mount["source"] = str(folder)

    def crun(self, *words, **options):
        return subprocess.run(["crun", "--root", self.state, "--cgroup-manager=cgroupfs", *map(str, words)], **options)

    def start_ms(self):
        """From before `crun create` to the application's exec."""
        read, write = os.pipe()
        os.fchown(write, *[json.loads((self.bundle / "config.json").read_text())["linux"]["uidMappings"][0]["hostID"]] * 2)
        began = time.monotonic_ns()
        for words in (("create", "--bundle", self.bundle, "bench"), ("start", "bench")):
            done = self.crun(*words, stdin=subprocess.DEVNULL, stdout=write, stderr=write)
            if done.returncode:
                fail(f"crun {words[0]}: {os.read(read, 4096).decode()}")
        os.close(write)
        said = os.read(read, 4096)
        os.close(read)
        self.crun("delete", "--force", "bench", check=True)
        found = STAMP.search(said)
        if not found:
            fail(f"the application under bare crun said {said!r}")
        return (int(found.group(1)) - began) / 1e6

    def close(self):
        self.crun("delete", "--force", "bench", stderr=subprocess.DEVNULL)
        subprocess.run(["umount", self.bundle / "rootfs"], check=False)
