# Sourced by the scripts that run a program in another language. `here` is the caller's directory, `target` where it builds.

# Compiles the caller's Java project and resolves its classpath, once and again when one of the sources that are named has
# changed. A function `prepare`, if the caller has one, makes sources first. The lock keeps two test runs from building into one directory.
build_java() { # source ...
  mkdir -p "$target"
  exec 9>"$target/.lock"
  flock 9
  if [[ ! -s $target/classpath || -n $(find "$here/pom.xml" "$@" -newer "$target/classpath" -print -quit) ]]; then
    if declare -F prepare >/dev/null; then prepare; fi
    (cd "$here" && mvn -q -B compile dependency:build-classpath -Dmdep.outputFile=target/classpath.new) >&2
    mv "$target/classpath.new" "$target/classpath"
    touch "$target/classpath"
  fi
  exec 9>&-
}

# Sets `work`: CLIENTS_WORK, or a new directory. Old ones are removed here, because nothing is left to do it after the caller's exec.
work_directory() {
  if [[ -n ${CLIENTS_WORK:-} ]]; then
    work=$CLIENTS_WORK
    mkdir -p "$work"
    return
  fi
  mkdir -p "$target/work"
  find "$target/work" -mindepth 1 -maxdepth 1 -mmin +120 -exec rm -rf {} +
  work=$(mktemp -d "$target/work/XXXXXX")
}
