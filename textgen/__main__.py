"`python -m textgen` and the command `textgen`."


def main():
    "Run the command line."
    try:
        from textgen.terminal import end_well
        end_well()
        from textgen.cli import main
        main()
    except KeyboardInterrupt: raise SystemExit(130) from None  # `end_well` has said so


if __name__ == "__main__": main()
