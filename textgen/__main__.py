"`python -m textgen` and the command `textgen`."


def main():
    "Run the command line."
    from textgen.terminal import end_well
    end_well()
    from textgen.cli import main
    main()


if __name__ == "__main__": main()
