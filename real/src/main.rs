//! The `onehold` binary.

fn main() -> std::process::ExitCode {
    onehold::cli::main()
}
